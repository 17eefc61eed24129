/**
 * What the two threads of the broker say to each other. The main thread has at most one request on its way: what
 * comes up meanwhile goes together in the next one and so into one transaction. Lists of tuples because cloning
 * them costs a third of what lists of objects do; payloads go in one buffer that is transferred.
 */

import type { GroupStats } from '../../core/broker.ts';

export type Publication = [topic: string, contentType: string, metadata: string, size: number];

/** One message for one member. */
export type Delivery = [
  member: number,
  group: number,
  message: number,
  attempt: number,
  contentType: string,
  metadata: string,
  size: number,
];

/**
 * What to do with a message a handler had. `owner` is the lease it came under: when that is over nothing happens.
 * `uncounted`: the delivery was no attempt.
 * It also gives the member back the room it took, so there is exactly one for each delivery.
 */
export type Settlement = [
  member: number,
  group: number,
  owner: number,
  message: number,
  verdict: number,
  size: number,
  uncounted?: boolean,
];

/** Verdicts from 0 up are milliseconds until the message is due again, Infinity parks it. */
export const SETTLED = -1;
/** Given back. */
export const RELEASED = -2;

export type Call =
  /** Makes the group if need be and starts deliveries to the member. */
  | {
      readonly kind: 'subscribe';
      readonly topic: string;
      readonly group: string;
      readonly member: number;
      readonly concurrency: number;
    }
  /** No delivery to the member follows the answer. */
  | { readonly kind: 'unsubscribe'; readonly member: number }
  | { readonly kind: 'stats' | 'unpark'; readonly topic: string; readonly group: string }
  /** Writes a sign of life. */
  | { readonly kind: 'beat' }
  /** Gives back everything and ends the thread. */
  | { readonly kind: 'close' };

export type CallResult = { readonly value: GroupStats | number | undefined } | { readonly error: string };

export interface Request {
  /** Stored all or none, durably, in this order. */
  readonly publications: readonly Publication[];
  /** The payloads, one after the other. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly settlements: readonly Settlement[];
  readonly calls: readonly Call[];
}

export interface Reply {
  /** The lease under which `deliveries` are. A change means that the one before was lost with all its messages. */
  readonly owner: number;
  readonly deliveries: readonly Delivery[];
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Why the last transaction failed; what it was to do waits, apart from what the answer names. */
  readonly trouble?: string;
  /** Whether this is the answer to a request. Nobody asked for what becomes due. */
  readonly isAnswer: boolean;
  /** Why the publications were not stored; absent when they were. */
  readonly refusal?: string;
  /** One for each call. */
  readonly results: readonly CallResult[];
}

/** Lays payloads one after the other in a buffer of their own, fit to be transferred. */
export function pack(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(size).buffer as ArrayBuffer, 0, size);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
