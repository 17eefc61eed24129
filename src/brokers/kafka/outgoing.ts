/** A message on its way to a partition. */

import type { OutboundMessage } from '../../core/broker.ts';
import { encodeHeaders } from './headers.ts';
import type { OutboundRecord } from './record-batch.ts';

/** What the publisher's metadata say about where it goes. */
export interface Destination {
  readonly key: Buffer | null;
  /** A partition that was asked for; undefined where the key or nothing decides. */
  readonly partition: number | undefined;
}

/** Throws when a partition is asked for that cannot be. */
export function destinationOf(metadata: Readonly<Record<string, string>>, partitions: number): Destination {
  const text = metadata['partitionKey'] ?? metadata['__key'];
  const key = text === undefined || text === '' ? null : Buffer.from(text);
  const wanted = metadata['partitionNumber'];
  // What was delivered before carries the number of its old topic, which may have had more partitions.
  if (wanted === undefined || wanted === '' || metadata['__offset'] !== undefined) return { key, partition: undefined };
  const partition = Number(wanted);
  if (!/^\d+$/.test(wanted) || partition >= partitions) {
    throw new Error(`partitionNumber '${wanted}' is none of the ${partitions} partitions`);
  }
  return { key, partition };
}

const NULL = Buffer.from('null');

/** The record of a message. JSON's `null` becomes a tombstone. */
export function recordOf(
  data: OutboundMessage['data'],
  metadata: OutboundMessage['metadata'],
  key: Buffer | null,
  excluded: RegExp | undefined,
): OutboundRecord {
  const value = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return {
    key,
    value: value.length === NULL.length && value.equals(NULL) ? null : value,
    headers: encodeHeaders(metadata, excluded),
    timestamp: Date.now(),
  };
}
