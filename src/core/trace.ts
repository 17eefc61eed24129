/** W3C trace context as text. Without an exporter the sidecar only carries it on. */

export interface Trace {
  /** Empty when there is none. */
  readonly traceparent: string;
  readonly tracestate: string;
}

export const NO_TRACE: Trace = { traceparent: '', tracestate: '' };

/** What a recipient sees where the event has a trace attribute that names no trace. */
export const ZERO_TRACEPARENT = `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00`;

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Whether the text is a traceparent that names a trace: well formed, not all zero, version below ff. */
export function isTraceparent(text: string): boolean {
  const match = TRACEPARENT.exec(text);
  if (!match || match[1] === 'ff' || (match[1] === '00' && match[5] !== undefined)) return false;
  return !/^0+$/.test(match[2] as string) && !/^0+$/.test(match[3] as string);
}

/** The trace a caller sent, NO_TRACE when it sent none or nonsense. */
export function traceOf(traceparent: string | undefined, tracestate: string | undefined): Trace {
  if (traceparent === undefined || !isTraceparent(traceparent)) return NO_TRACE;
  return { traceparent, tracestate: tracestate ?? '' };
}
