/** The span of an HTTP request (contract 12.2). */

import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import { messagingAttributes, type Tracer } from '../core/tracer.ts';
import type { CallContext } from '../rpc/bind.ts';
import { callSpans, daprHeaders } from '../rpc/call-trace.ts';
import type { Route } from './path.ts';

interface Traced {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly route: Route;
  readonly caller: CallContext;
}

/** Begins it. The context goes on from it; it ends with the response. */
export function traced(tracer: Tracer, { request, response, path, route, caller }: Traced): CallContext {
  const span = tracer.start(path, 'client', caller.trace, () => ({
    'dapr.api': `${request.method} ${path}`,
    'dapr.protocol': 'http',
    'rpc.service': 'Dapr',
    'http.request.method': request.method ?? '',
    'url.full': request.url ?? '',
    'server.address': request.socket.remoteAddress ?? '',
    'server.port': request.socket.remotePort ?? 0,
    ...('topic' in route && messagingAttributes(route.topic)),
    ...daprHeaders(request.headers),
  }));
  response.once('close', () => {
    const { statusCode: status } = response;
    const fault = status < 400 ? '' : `Code(${status}): ${STATUS_CODES[status] ?? ''}`;
    span.end(fault, { 'dapr.status_code': String(status) });
  });
  return { ...caller, trace: span.trace, spans: callSpans(tracer, span, path) };
}
