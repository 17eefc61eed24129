/** An app over HTTP that says what it was asked, and calls of it through the sidecar. */

import { createServer, type IncomingMessage } from 'node:http';
import type { ServiceError } from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import { HTTPExtension_Verb, type InvokeResponse } from '../../gen/dapr/proto/common/v1/common.ts';
import { call, type Sidecar } from './_sidecar.ts';

interface Asked {
  readonly verb: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}
interface Said {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** `well` answers /healthz. */
export async function startEcho(t: ExecutionContext, reply: (asked: Asked) => Said | Promise<Said> = () => ({})) {
  const app = { port: 0, asked: [] as Asked[], well: true };
  const server = createServer(async (request, response) => {
    const { method: verb = '', url = '', headers } = request;
    if (url === '/healthz') return response.writeHead(app.well ? 200 : 503).end();
    if (url.startsWith('/dapr/')) return response.writeHead(404).end();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const asked = { verb, url, headers, body: Buffer.concat(chunks).toString() };
    app.asked.push(asked);
    const { status = 200, headers: own = {}, body = `${verb} ${url}` } = await reply(asked);
    response.writeHead(status, own).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close().closeAllConnections());
  app.port = (server.address() as { port: number }).port;
  return app;
}

export const bytes = (text: string, typeUrl = ''): object => ({ typeUrl, value: Buffer.from(text) });

interface GrpcCall {
  readonly id?: string;
  readonly verb?: keyof typeof HTTPExtension_Verb;
  readonly data?: object;
  readonly query?: string;
  readonly headers?: object;
}

/** Calls a method of the app over gRPC. */
export function invoke(sidecar: Sidecar, method: string, more: GrpcCall = {}): Promise<InvokeResponse> {
  const { id = 'app', verb = 'POST', data = bytes(''), query: querystring = '', headers } = more;
  const httpExtension = { verb: HTTPExtension_Verb[verb], querystring };
  const message = { method, data, contentType: 'text/plain', httpExtension };
  return call(sidecar.client, 'invokeService', { id, message }, headers);
}

export const text = ({ data }: InvokeResponse): string => Buffer.from(data?.value ?? []).toString();

/** What a call failed with. */
export const failure = async (calling: Promise<unknown>): Promise<ServiceError> =>
  calling.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error as ServiceError,
  );

export const urlOf = ({ http }: Sidecar, method: string, id = 'app'): string =>
  `${http}/v1.0/invoke/${id}/method/${method}`;
