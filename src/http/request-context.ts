/** What the service sees of an HTTP request, and what every answer of the API tells. */

import type { IncomingMessage } from 'node:http';
import { traceOf, ZERO_TRACEPARENT } from '../core/trace.ts';
import type { CallContext } from '../rpc/bind.ts';

export function contextOf(request: IncomingMessage): CallContext {
  return {
    protocol: 'http',
    trace: traceOf(header(request, 'traceparent'), header(request, 'tracestate')),
    baggage: header(request, 'baggage') ?? '',
    header: (name) => header(request, name),
  };
}

/** A header's value by its lower-case name, the first of several. */
export function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : value?.[0];
}

/** What every answer has: the trace, all zero without one, and the caller's baggage. */
export function answerHeaders({ trace: { traceparent, tracestate }, baggage }: CallContext): Record<string, string> {
  const headers: Record<string, string> = { traceparent: traceparent || ZERO_TRACEPARENT };
  if (tracestate !== '') headers['tracestate'] = tracestate;
  if (baggage !== '') headers['baggage'] = baggage;
  return headers;
}
