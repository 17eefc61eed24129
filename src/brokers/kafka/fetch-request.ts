/** The Fetch request. Its answer keeps the errors of single partitions apart, and the batches as they are. */

import { Reader } from './bytes.ts';
import type { Cluster } from './cluster.ts';
import { codecOf } from './compression.ts';
import { check, type Link } from './link.ts';
import { decodeBatches, type InboundRecord } from './record-batch.ts';

/** From which offset a partition is read. */
export interface Read {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

export interface FetchLimits {
  /** How long the broker may wait until there are `minBytes`. */
  readonly waitMs: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly partitionBytes: number;
}

export interface Fetched {
  readonly topic: string;
  readonly partition: number;
  /** As in Kafka's list, 0 for none. */
  readonly errorCode: number;
  /** The offset behind the last that may be read; -1 where that is not said. */
  readonly end: number;
  readonly batches: Buffer;
}

const READ_UNCOMMITTED = 0;
/** There is nothing at that offset: before the first or behind the last. */
export const OUT_OF_RANGE = 1;
const NOTHING = { errorCode: 0, batches: Buffer.alloc(0) };

export function fetch(link: Link, reads: readonly Read[], limits: FetchLimits): Promise<Fetched[]> {
  const { waitMs: maxWaitTime, minBytes, maxBytes, partitionBytes } = limits;
  const topics = [...Map.groupBy(reads, ({ topic }) => topic)].map(([topic, some]) => ({
    topic,
    partitions: some.map(({ partition, offset }) => {
      return { partition, fetchOffset: String(offset), maxBytes: partitionBytes };
    }),
  }));
  return link.read('Fetch', { isolationLevel: READ_UNCOMMITTED, maxWaitTime, minBytes, maxBytes, topics }, decode);
}

/** The first record from `offset` on; undefined where it has gone from the topic. Rejects when that cannot be told. */
export async function readOne(
  cluster: Cluster,
  topic: string,
  partition: number,
  offset: number,
): Promise<InboundRecord | undefined> {
  try {
    const leader = (await cluster.layout(topic))[partition] ?? -1;
    const link = await cluster.node(leader, 'ask');
    const limits = { waitMs: 1, minBytes: 1, maxBytes: 1, partitionBytes: 1 };
    // A broker that throttles us answers with nothing at all.
    const [{ errorCode, batches } = NOTHING] = await fetch(link, [{ topic, partition, offset }], limits);
    if (errorCode === OUT_OF_RANGE) return undefined;
    check(errorCode);
    const { records, nextOffset } = await decodeBatches(batches, offset, codecOf);
    if (nextOffset === offset) throw new Error(`offset ${offset} of partition ${partition} cannot be read now`);
    return records[0];
  } catch (error) {
    cluster.forget(topic); // somebody else may lead it now
    throw error;
  }
}

function decode(bytes: Buffer, version: number): Fetched[] {
  const reader = new Reader(bytes);
  reader.int32();
  if (version >= 7) reader.at += 6;
  const fetched: Fetched[] = [];
  reader.list(() => {
    const topic = reader.text() ?? '';
    reader.list(() => {
      const [partition, errorCode, end] = [reader.int32(), reader.int16(), reader.int64()];
      reader.at += version >= 5 ? 16 : 8;
      reader.list(() => (reader.at += 16));
      if (version >= 11) reader.at += 4;
      fetched.push({ topic, partition, errorCode, end, batches: reader.block() });
    });
  });
  return fetched;
}
