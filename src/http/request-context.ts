/** What the service sees of an HTTP request. */

import type { IncomingMessage } from 'node:http';
import { traceOf } from '../core/trace.ts';
import type { CallContext } from '../rpc/bind.ts';

export function contextOf(request: IncomingMessage): CallContext {
  return {
    protocol: 'http',
    trace: traceOf(header(request, 'traceparent'), header(request, 'tracestate')),
    header: (name) => header(request, name),
  };
}

/** A header's value by its lower-case name, the first of several. */
export function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === 'string' ? value : value?.[0];
}
