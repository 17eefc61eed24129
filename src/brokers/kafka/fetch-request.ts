/** The Fetch request. Its answer keeps the errors of single partitions apart, and the batches as they are. */

import { Reader, Writer } from './bytes.ts';
import { apiKeys } from './kafkajs.ts';
import { check, type Link } from './link.ts';

/** From which offset a partition is read. */
export interface Read {
  readonly topic: string;
  /** Where the brokers tell it. */
  readonly topicId: string | undefined;
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

/** As Dapr: transactions of other producers are read as they are written. */
const READ_UNCOMMITTED = 0;
/** There is nothing at that offset: before the first or behind the last. */
export const OUT_OF_RANGE = 1;
const FETCH = apiKeys['Fetch'] as number;
/** The first that names topics by their ids, so that what was made anew is not taken for the old one; kafkajs has none of those. */
const VERSION = 13;
const ID_LENGTH = 16;

export function fetch(link: Link, reads: readonly Read[], limits: FetchLimits): Promise<Fetched[]> {
  const areNamed = link.versionOf(FETCH) < VERSION || reads.some(({ topicId }) => topicId === undefined);
  return areNamed ? fetchByName(link, reads, limits) : fetchById(link, reads, limits);
}

function fetchByName(link: Link, reads: readonly Read[], limits: FetchLimits): Promise<Fetched[]> {
  const { waitMs: maxWaitTime, minBytes, maxBytes, partitionBytes } = limits;
  const topics = [...Map.groupBy(reads, ({ topic }) => topic)].map(([topic, some]) => ({
    topic,
    partitions: some.map(({ partition, offset }) => {
      return { partition, fetchOffset: String(offset), maxBytes: partitionBytes };
    }),
  }));
  return link.read('Fetch', { isolationLevel: READ_UNCOMMITTED, maxWaitTime, minBytes, maxBytes, topics }, decode);
}

function decode(bytes: Buffer, version: number): Fetched[] {
  const reader = new Reader(bytes);
  reader.int32();
  if (version >= 7) {
    check(reader.int16());
    reader.int32();
  }
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

async function fetchById(link: Link, reads: readonly Read[], limits: FetchLimits): Promise<Fetched[]> {
  const { waitMs, minBytes, maxBytes, partitionBytes } = limits;
  const topics = Map.groupBy(reads, ({ topicId = '' }) => topicId);
  const writer = new Writer(64 * reads.length).noTags();
  writer.int32(-1).int32(waitMs).int32(minBytes).int32(maxBytes).int8(READ_UNCOMMITTED);
  writer.int32(0).int32(-1); // no session
  writer.uvarint(topics.size + 1);
  for (const [id, some] of topics) {
    writer.append(Buffer.from(id, 'hex')).uvarint(some.length + 1);
    for (const { partition, offset } of some) {
      writer.int32(partition).int32(-1).int64(offset).int32(-1).int64(-1).int32(partitionBytes).noTags();
    }
    writer.noTags();
  }
  writer.uvarint(1).compactText('').noTags(); // nothing is forgotten, and we are in no rack
  const request = { apiKey: FETCH, apiName: 'Fetch', apiVersion: VERSION };
  const answer = await link.write(request, [writer.done()], true, waitMs);
  const names = new Map([...topics].map(([id, [first]]) => [id, first?.topic ?? '']));
  return decodeById(new Reader(answer as Buffer), names);
}

function decodeById(reader: Reader, names: ReadonlyMap<string, string>): Fetched[] {
  reader.skipTags();
  reader.int32();
  check(reader.int16());
  reader.int32();
  const fetched: Fetched[] = [];
  reader.compactList(() => {
    const topic = names.get(reader.slice(ID_LENGTH).toString('hex')) ?? '';
    reader.compactList(() => {
      const [partition, errorCode, end] = [reader.int32(), reader.int16(), reader.int64()];
      reader.at += 16;
      reader.compactList(() => {
        reader.at += 16;
        reader.skipTags();
      });
      reader.at += 4;
      fetched.push({ topic, partition, errorCode, end, batches: reader.compactBlock() });
      reader.skipTags();
    });
    reader.skipTags();
  });
  return fetched;
}
