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

/** `grpc-trace-bin`: version 0, then trace id, span id and flags, each behind its number. Undefined where there is no trace. */
export function binaryOf(traceparent: string): Buffer | undefined {
  const [, traceId, spanId, flags] = traceparent.split('-');
  return traceId && spanId && flags ? Buffer.from(`0000${traceId}01${spanId}02${flags}`, 'hex') : undefined;
}

/** The trace that `grpc-trace-bin` names, empty when it names none. */
export function traceparentOf(binary: Uint8Array): string {
  const hex = Buffer.from(binary).toString('hex');
  const match = /^0000([0-9a-f]{32})01([0-9a-f]{16})02([0-9a-f]{2})$/.exec(hex);
  const traceparent = match ? `00-${match[1]}-${match[2]}-${match[3]}` : '';
  return isTraceparent(traceparent) ? traceparent : '';
}

/** Gives an event what it lacks of a trace from the metadata of its message; a traceparent from there counts as traceid too. */
export function fillTrace(event: Record<string, unknown>, metadata: Readonly<Record<string, string>>): void {
  const { traceid, traceparent, tracestate } = metadata;
  if (traceparent !== undefined && !Object.hasOwn(event, 'traceparent')) {
    event['traceparent'] = traceparent;
    event['traceid'] = traceparent;
  }
  if (traceid !== undefined && !Object.hasOwn(event, 'traceid')) event['traceid'] = traceid;
  if (tracestate !== undefined && !Object.hasOwn(event, 'tracestate')) event['tracestate'] = tracestate;
}
