/**
 * Spans as Zipkin takes them: JSON over HTTP. The usual library waits for an answer for ever, with each batch of a
 * collector that hangs in memory and nobody told.
 */

import { SpanKind, SpanStatusCode, type HrTime } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { loginOf } from '../lib/login-of.ts';

/** `url` is where spans are posted to, who we are in it or not; `timeoutMs` how long an answer may take. */
export function zipkinExporter(url: string, timeoutMs: number): SpanExporter {
  const { address, authorization } = loginOf(url);
  const headers = { 'content-type': 'application/json', ...(authorization !== '' && { authorization }) };
  const send = async (spans: readonly ReadableSpan[]): Promise<void> => {
    const body = JSON.stringify(spans.map(zipkinSpan));
    const signal = AbortSignal.timeout(timeoutMs);
    const response = await fetch(address, { method: 'POST', headers, body, signal, redirect: 'manual' });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`status ${response.status}`);
  };
  return {
    export: (spans, done) =>
      void send(spans).then(
        () => done({ code: 0 }),
        (error: Error) => done({ code: 1, error: error.cause instanceof Error ? error.cause : error }),
      ),
    shutdown: () => Promise.resolve(),
  };
}

const microseconds = ([seconds, nanoseconds]: HrTime): number => Math.round(seconds * 1e6 + nanoseconds / 1e3);
const texts = (values: object): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [name, String(value)]));

function zipkinSpan(span: ReadableSpan): object {
  const { attributes: about } = span.resource;
  const { code, message } = span.status;
  return {
    traceId: span.spanContext().traceId,
    parentId: span.parentSpanContext?.spanId,
    id: span.spanContext().spanId,
    name: span.name,
    kind: SpanKind[span.kind],
    timestamp: microseconds(span.startTime),
    duration: microseconds(span.duration),
    localEndpoint: { serviceName: String(about['service.name']) },
    tags: {
      ...texts(span.attributes),
      ...(code === SpanStatusCode.ERROR && { 'otel.status_code': 'ERROR', error: message ?? '' }),
      ...texts(about),
    },
  };
}
