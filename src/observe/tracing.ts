/**
 * Records spans and hands them to exporters. Spans are plain objects until they are exported: the libraries are loaded
 * when the sidecar is up, and what was recorded before waits for them.
 */

import { randomFillSync } from 'node:crypto';
import { messageOf } from '../core/errors.ts';
import { isTraceparent, type Trace } from '../core/trace.ts';
import type { Span, SpanAttributes, SpanKind, Tracer } from '../core/tracer.ts';
import type { Log } from '../lib/log.ts';
import { sleep } from '../lib/sleep.ts';
import {
  hasTarget,
  openSpanExporters,
  type OpenExporters,
  type SpanSink,
  type SpanSource,
  type SpanTargets,
} from './span-exporters.ts';

/** A span that was sampled and has ended. Ids are hexadecimal, times milliseconds since 1970. */
export interface SpanRecord {
  readonly name: string;
  readonly kind: SpanKind;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly tracestate: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: SpanAttributes;
  /** Empty when nothing went wrong. */
  readonly fault: string;
}

/** What is remembered until the exporters are there. */
const MAX_EARLY = 2048;
/** How long a stop waits for what is not exported yet. */
const FLUSH_MS = 2000;

export class Tracing implements Tracer {
  private readonly samplingRate: number;
  private readonly openExporters: OpenExporters;
  private readonly log: Log;
  private early: SpanRecord[] = [];
  private sink: SpanSink | undefined;
  private loading: Promise<void> | undefined;

  /** `samplingRate` is the share of new traces that are recorded; others are as their parents are. */
  constructor(samplingRate: number, openExporters: OpenExporters, log: Log) {
    this.samplingRate = samplingRate;
    this.openExporters = openExporters;
    this.log = log;
  }

  /** Loads the exporters, once. Never rejects: without them spans are forgotten. */
  load(): Promise<void> {
    return (this.loading ??= this.open().catch((error: unknown) => {
      this.log.error(`spans are not exported: ${messageOf(error)}`);
    }));
  }

  start(name: string, kind: SpanKind, parent: Trace, attributes: () => SpanAttributes): Span {
    const hasParent = isTraceparent(parent.traceparent);
    const traceId = hasParent ? parent.traceparent.slice(3, 35) : randomHex(16);
    const isSampled = hasParent ? isSampledBy(parent.traceparent) : isWithin(traceId, this.samplingRate);
    const spanId = randomHex(8);
    const traceparent = `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;
    const tracestate = hasParent ? parent.tracestate : '';
    const trace = { traceparent, tracestate };
    if (!isSampled) return { name, trace, end: () => undefined };
    const parentSpanId = hasParent ? parent.traceparent.slice(36, 52) : '';
    const startMs = nowMs();
    const given = attributes();
    const end = (fault = '', more: SpanAttributes = {}): void => {
      const all = { ...given, ...more };
      const record = { name, kind, traceId, spanId, parentSpanId, tracestate, startMs, attributes: all, fault };
      this.add({ ...record, endMs: nowMs() });
    };
    return { name, trace, end };
  }

  /** Exports what is left, for as long as `deadline` and a collector that may be away allow. */
  async close(deadline: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const end = (): void => ended.abort();
    deadline.addEventListener('abort', end, { once: true });
    if (deadline.aborted) return;
    await Promise.race([this.flush(), sleep(FLUSH_MS, ended.signal)]);
    end();
  }

  private async flush(): Promise<void> {
    if (this.early.length > 0 || this.loading) await this.load();
    await this.sink?.close();
  }

  private async open(): Promise<void> {
    this.sink = await this.openExporters();
    for (const record of this.early) this.sink.add(record);
    this.early = [];
  }

  private add(record: SpanRecord): void {
    if (this.sink) this.sink.add(record);
    else if (this.early.length < MAX_EARLY) this.early.push(record);
  }
}

export type TracingSetup = SpanTargets & SpanSource & { readonly samplingRate: number };

/** Undefined where no span goes anywhere. */
export function openTracing(setup: TracingSetup, appId: string, log: Log): Tracing | undefined {
  const { samplingRate, serviceName } = setup;
  log.info(`Dapr trace sampler initialized: ${describeSampler(samplingRate)}`);
  if (samplingRate === 0 || !hasTarget(setup)) return undefined;
  const source = { ...setup, serviceName: serviceName || appId };
  return new Tracing(samplingRate, () => openSpanExporters(setup, source, log), log);
}

/** As logs of Dapr name it: what is done with new traces, and with those that have begun elsewhere. */
function describeSampler(samplingRate: number): string {
  const root = samplingRate >= 1 ? 'AlwaysOnSampler' : `TraceIDRatioBased{${samplingRate}}`;
  const [on, off] = ['AlwaysOnSampler', 'AlwaysOffSampler'];
  const remote = `remoteParentSampled:${on},remoteParentNotSampled:${off}`;
  return `ParentBased{root:${root},${remote},localParentSampled:${on},localParentNotSampled:${off}}`;
}

const nowMs = (): number => performance.timeOrigin + performance.now();

const isSampledBy = (traceparent: string): boolean => (parseInt(traceparent.slice(53, 55), 16) & 1) === 1;

/** Every sidecar takes the same traces: it goes by the id. */
const isWithin = (traceId: string, rate: number): boolean => parseInt(traceId.slice(16, 29), 16) < rate * 2 ** 52;

const POOL = Buffer.alloc(4096);
let used = POOL.length;

function randomHex(bytes: number): string {
  if (used + bytes > POOL.length) {
    randomFillSync(POOL);
    used = 0;
  }
  used += bytes;
  const hex = POOL.toString('hex', used - bytes, used);
  return /^0+$/.test(hex) ? randomHex(bytes) : hex;
}
