/** The trace of a gRPC call: what the caller sent, the span of the call, what is sent back (contract 1.1, 12.2, 12.3). */

import { GrpcCode } from '../core/errors.ts';
import { binaryOf, NO_TRACE, traceOf, traceparentOf, type Trace } from '../core/trace.ts';
import { messagingAttributes, type Span, type SpanAttributes, type Tracer } from '../core/tracer.ts';
import type { ServerCall } from './call.ts';

/** Begins spans beneath a call's own. */
export interface CallSpans {
  /** The entry of a bulk publish. */
  entry(topic: string): Span;
}

export function callSpans(tracer: Tracer, call: Span, entryName: string): CallSpans {
  return { entry: (topic) => tracer.start(entryName, 'producer', call.trace, () => messagingAttributes(topic)) };
}

/** The caller's trace: the binary one first. */
export function callerTrace(call: ServerCall): Trace {
  const [binary = ''] = call.header('grpc-trace-bin')?.split(',') ?? [];
  const traceparent = traceparentOf(Buffer.from(binary, 'base64')) || call.header('traceparent');
  return traceparent === undefined ? NO_TRACE : traceOf(traceparent, call.header('tracestate'));
}

export function startCallSpan(tracer: Tracer, call: ServerCall, request: unknown, caller: Trace): Span {
  return tracer.start(call.path, 'client', caller, () => ({
    'dapr.api': call.path,
    'dapr.protocol': 'grpc',
    'rpc.service': 'Dapr',
    ...topicAttributes(request),
    ...daprHeaders(call.headers),
  }));
}

export function endCallSpan(span: Span, code: number, message: string): void {
  span.end(code === GrpcCode.OK ? '' : message || `code ${code}`, { 'dapr.status_code': code });
}

/** Tells the caller its trace and gives its baggage back. Nothing is sent where there is neither. */
export function answerTrace(call: ServerCall, { traceparent }: Trace, baggage: string): void {
  const binary = traceparent === '' ? undefined : binaryOf(traceparent);
  if (!binary && baggage === '') return;
  call.sendHeaders([
    ...(binary ? ['grpc-trace-bin', binary.toString('base64')] : []),
    ...(baggage === '' ? [] : ['baggage', baggage]),
  ]);
}

function topicAttributes(request: unknown): SpanAttributes {
  const { topic } = request as { topic?: unknown };
  return typeof topic === 'string' ? messagingAttributes(topic) : {};
}

/** The headers of a call that its span tells: Dapr's, but neither bytes nor what may be a secret. */
export function daprHeaders(headers: object): SpanAttributes {
  const isTold = (name: string): boolean => name.startsWith('dapr-') && !/-(bin|token)$/.test(name);
  const told = Object.entries(headers).filter(([name, value]) => isTold(name) && typeof value === 'string');
  return Object.fromEntries(told) as SpanAttributes;
}
