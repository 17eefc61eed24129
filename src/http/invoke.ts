/** `/v1.0/invoke/{id}/method/{path}`: the request goes to the app as it is, the answer comes back as it is. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Invoke } from '../core/invocation.ts';
import type { Trace } from '../core/trace.ts';
import { keepUntilRead, unreadable, withBody, type BodyLimits } from './body.ts';
import { header } from './request-context.ts';

export interface InvokePort extends BodyLimits {
  readonly invoke: Invoke;
}

export interface InvokeCall {
  readonly id: string;
  readonly method: string;
  readonly query: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly trace: Trace;
}

/** Answers the request. Rejects with a SidecarError while nothing is answered. */
export async function invokeApp(port: InvokePort, call: InvokeCall): Promise<void> {
  const { id, method, query, request, response, trace } = call;
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const headers = Object.entries(request.headers).flatMap(([name, value]) =>
    [value ?? []].flat().flatMap((one) => [name, one]),
  );
  const contentType = header(request, 'content-type') ?? '';
  const verb = request.method ?? 'GET';
  const answer = await withBody(request, port, unreadable, (body) =>
    port.invoke({ id, verb, method, query, contentType, headers, body, typeUrl: '', trace }, gone.signal),
  );
  if (response.destroyed) return;
  for (let i = 0; i < answer.headers.length; i += 2) {
    response.appendHeader(answer.headers[i] as string, answer.headers[i + 1] as string);
  }
  if (answer.contentType !== '') response.setHeader('content-type', answer.contentType);
  if (verb !== 'HEAD' && answer.body.length > 0) response.setHeader('content-length', answer.body.length);
  response.statusCode = answer.status;
  keepUntilRead(response, answer.body.length, port.budget);
  response.end(answer.body);
}
