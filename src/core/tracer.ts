/** Spans, as far as the code that is traced knows of them. Where nothing is exported there is no tracer at all. */

import type { Trace } from './trace.ts';

/** Who waits for whom: `client` for calls, `producer` for what is sent and not waited for. */
export type SpanKind = 'client' | 'producer';
export type SpanAttributes = Readonly<Record<string, string | number>>;

export interface Span {
  readonly name: string;
  /** What is passed on: the span as a parent. */
  readonly trace: Trace;
  /** To be called once. `fault` says what went wrong; attributes that were not known before. */
  end(fault?: string, attributes?: SpanAttributes): void;
}

export interface Tracer {
  /** Begins a span, a new trace where `parent` is none. `attributes` are only asked for when it is recorded. */
  start(name: string, kind: SpanKind, parent: Trace, attributes: () => SpanAttributes): Span;
}

/** What a span about a topic says of it. */
export const messagingAttributes = (topic: string): SpanAttributes => ({
  'messaging.system': 'pubsub',
  'messaging.destination.name': topic,
});
