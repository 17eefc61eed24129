/** Where spans go. Loaded by a sidecar that exports some. */

import type { SpanContext } from '@opentelemetry/api';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import type { Log } from '../lib/log.ts';
import { withoutSecrets } from '../lib/without-secrets.ts';
import type { SpanRecord } from './tracing.ts';

/** An OTLP collector. */
export interface OtlpTarget {
  /** With its scheme, which says whether the connection is encrypted. */
  readonly url: string;
  readonly protocol: 'grpc' | 'http';
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export interface SpanTargets {
  /** To the log, one line a span. */
  readonly stdout: boolean;
  /** Where Zipkin takes spans; empty: nowhere. */
  readonly zipkinUrl: string;
  readonly otlp: OtlpTarget | undefined;
}

export interface SpanSource {
  readonly serviceName: string;
  /** Attributes of the resource. */
  readonly attributes: Readonly<Record<string, string>>;
  /** How long spans gather before they are sent, milliseconds. */
  readonly delayMs: number;
}

export interface SpanSink {
  add(record: SpanRecord): void;
  /** Exports what is left. Never rejects. */
  close(): Promise<void>;
}

export type OpenExporters = () => Promise<SpanSink>;

const EXPORT_MS = 10_000;

export const hasTarget = ({ stdout, zipkinUrl, otlp }: SpanTargets): boolean =>
  stdout || zipkinUrl !== '' || otlp !== undefined;

/** Opens what `targets` name. A target that is away costs its spans, which are bounded, and one line in the log. */
export async function openSpanExporters(targets: SpanTargets, source: SpanSource, log: Log): Promise<SpanSink> {
  const { stdout, zipkinUrl, otlp } = targets;
  const [{ BatchSpanProcessor }, { resourceFromAttributes }, api] = await Promise.all([
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/api'),
  ]);
  const exporters: SpanExporter[] = [];
  if (otlp) exporters.push(telling(await openOtlp(otlp), otlp.url, log));
  if (zipkinUrl !== '') {
    const { zipkinExporter } = await import('./zipkin-exporter.ts');
    exporters.push(telling(zipkinExporter(zipkinUrl, EXPORT_MS), zipkinUrl, log));
  }
  const { serviceName, attributes, delayMs: scheduledDelayMillis } = source;
  const resource = resourceFromAttributes({ ...attributes, 'service.name': serviceName });
  const options = { scheduledDelayMillis, exportTimeoutMillis: EXPORT_MS };
  const processors = exporters.map((exporter) => new BatchSpanProcessor({ exporter, ...options }));
  const readable = (record: SpanRecord): ReadableSpan => {
    const { traceId, parentSpanId, fault, kind } = record;
    const traceState = api.createTraceState(record.tracestate);
    const context = (spanId: string): SpanContext => ({ traceId, spanId, traceFlags: 1, traceState });
    const isRoot = parentSpanId === '';
    return {
      name: record.name,
      kind: kind === 'producer' ? api.SpanKind.PRODUCER : api.SpanKind.CLIENT,
      spanContext: () => context(record.spanId),
      ...(!isRoot && { parentSpanContext: { ...context(parentSpanId), isRemote: true } }),
      startTime: hrTime(record.startMs),
      endTime: hrTime(record.endMs),
      duration: hrTime(record.endMs - record.startMs),
      status: fault === '' ? { code: api.SpanStatusCode.UNSET } : { code: api.SpanStatusCode.ERROR, message: fault },
      attributes: { ...record.attributes },
      links: [],
      events: [],
      ended: true,
      resource,
      instrumentationScope: { name: 'dapr-diagnostics' },
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    };
  };
  return {
    add: (record) => {
      if (stdout) print(record, log);
      if (processors.length === 0) return;
      const span = readable(record);
      for (const processor of processors) processor.onEnd(span);
    },
    close: async () => {
      await Promise.allSettled(processors.map((processor) => processor.shutdown()));
    },
  };
}

async function openOtlp({ url, protocol, headers, timeoutMs: timeoutMillis }: OtlpTarget): Promise<SpanExporter> {
  if (protocol === 'http') {
    const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
    return new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis });
  }
  const [{ OTLPTraceExporter }, { credentials, Metadata }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-grpc'),
    import('@grpc/grpc-js'),
  ]);
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  const isPlain = url.startsWith('http:');
  const channel = isPlain ? credentials.createInsecure() : credentials.createSsl();
  return new OTLPTraceExporter({ url, metadata, credentials: channel, timeoutMillis });
}

/** The exporter, and a line when it begins to fail and when it works again. */
function telling(exporter: SpanExporter, url: string, log: Log): SpanExporter {
  const where = withoutSecrets(url);
  let isAway = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const failed = result.code !== 0;
        if (failed && !isAway) log.warn(`spans cannot be exported to ${where}: ${result.error?.message ?? 'unknown'}`);
        if (!failed && isAway) log.info(`spans are exported to ${where} again`);
        isAway = failed;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
}

function print({ name, traceId, spanId, parentSpanId, startMs, endMs, fault, attributes }: SpanRecord, log: Log): void {
  const fields = { traceId, spanId, parentSpanId, ms: Number((endMs - startMs).toFixed(3)), fault, ...attributes };
  log.info(`Span: ${name}`, fields);
}

const hrTime = (ms: number): [number, number] => [Math.trunc(ms / 1000), Math.round((ms % 1000) * 1e6)];
