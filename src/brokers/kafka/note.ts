/**
 * What is committed beside the offset: how things stand behind it. Offsets alone say that everything before them is
 * settled; the note says which messages after it are not, how often they were delivered and when they are due, so that
 * the next owner neither handles twice what was settled out of order nor forgets attempts. A member of another make
 * ignores it and handles everything from the offset on.
 */

import { Reader, Writer } from './bytes.ts';

/** A message that is not settled. */
export interface Unsettled {
  readonly offset: number;
  /** Deliveries that count. */
  readonly attempt: number;
  /** Milliseconds since 1970 before which it is not to come again; Infinity: it is parked. */
  readonly dueAt: number;
}

export interface Note {
  /** Nothing from here on was delivered; what is before it and not in `open` is settled. */
  readonly until: number;
  readonly open: ReadonlyMap<number, Unsettled>;
}

const PREFIX = 'dapr1:';
/** Brokers take 4096 by default. */
const MAX_LENGTH = 4000;
const MAX_BYTES = Math.floor(((MAX_LENGTH - PREFIX.length) * 3) / 4) - 16;
const STEP_MS = 100;

/** `open` in the order of offsets. What has no room is left to be delivered once more. */
export function writeNote(offset: number, until: number, open: Iterable<Unsettled>): string {
  const entries = new Writer();
  const from = Math.floor(Date.now() / STEP_MS);
  let last = offset - 1;
  let end = until;
  for (const { offset: at, attempt, dueAt } of open) {
    if (at >= until) break;
    if (entries.length > MAX_BYTES) {
      end = at;
      break;
    }
    const waits = dueAt === Infinity ? 2 : dueAt > from * STEP_MS ? 1 : 0;
    entries.varint(at - last - 1).varint(attempt * 3 + waits);
    if (waits === 1) entries.varint(Math.ceil(dueAt / STEP_MS) - from);
    last = at;
  }
  if (end <= offset) return '';
  const head = new Writer().varint(end - offset).varint(from);
  return PREFIX + head.append(entries.done()).done().toString('base64');
}

/** Undefined for what is none of ours. */
export function readNote(offset: number, text: string | null): Note | undefined {
  if (!text?.startsWith(PREFIX)) return undefined;
  const open = new Map<number, Unsettled>();
  try {
    const reader = new Reader(Buffer.from(text.slice(PREFIX.length), 'base64'));
    const until = offset + reader.varint();
    const from = reader.varint();
    let at = offset - 1;
    while (reader.left > 0) {
      at += reader.varint() + 1;
      const packed = reader.varint();
      const waits = packed % 3;
      const dueAt = waits === 2 ? Infinity : waits === 1 ? (from + reader.varint()) * STEP_MS : 0;
      open.set(at, { offset: at, attempt: Math.floor(packed / 3), dueAt });
    }
    return { until, open };
  } catch {
    return undefined;
  }
}
