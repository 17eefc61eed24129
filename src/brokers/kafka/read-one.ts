import type { Cluster } from './cluster.ts';
import { codecOf } from './compression.ts';
import { fetch, OUT_OF_RANGE, type Read } from './fetch-request.ts';
import { check } from './link.ts';
import { decodeBatches, type InboundRecord } from './record-batch.ts';

const NOTHING = { errorCode: 0, batches: Buffer.alloc(0) };

/** The first record from there on; undefined where it has gone from the topic. Rejects when that cannot be told. */
export async function readOne(cluster: Cluster, read: Read): Promise<InboundRecord | undefined> {
  const { topic, partition, offset } = read;
  try {
    const leader = (await cluster.layout(topic))[partition] ?? -1;
    const link = await cluster.node(leader, 'ask');
    const limits = { waitMs: 1, minBytes: 1, maxBytes: 1, partitionBytes: 1 };
    // A broker that throttles us answers with nothing at all.
    const [{ errorCode, batches } = NOTHING] = await fetch(link, [read], limits);
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
