/** The Produce request, with batches that are encoded already. */

import { Reader, Writer } from './bytes.ts';
import { apiKeys } from './kafkajs.ts';
import type { Link } from './link.ts';

export interface BatchFor {
  readonly topic: string;
  readonly partition: number;
  readonly bytes: Buffer;
}

export interface Produced {
  readonly topic: string;
  readonly partition: number;
  /** As in Kafka's list, 0 for none. */
  readonly errorCode: number;
}

const PRODUCE = apiKeys['Produce'] as number;
/** From 3 on the request has record batches; 7 may have zstd in them, and 8 is not needed. */
const [LEAST, MOST] = [3, 7];

/** `acks`: -1 all, 1 the leader, 0 nobody, and then nothing is answered. The batches go to the socket as they are. */
export async function produce(
  link: Link,
  batches: readonly BatchFor[],
  acks: number,
  timeoutMs: number,
): Promise<readonly Produced[]> {
  const version = Math.max(LEAST, Math.min(MOST, link.versionOf(PRODUCE)));
  const topics = Map.groupBy(batches, ({ topic }) => topic);
  const body: Buffer[] = [];
  let writer = new Writer().text(null).int16(acks).int32(timeoutMs).int32(topics.size);
  for (const [topic, ofTopic] of topics) {
    writer.text(topic).int32(ofTopic.length);
    for (const { partition, bytes } of ofTopic) {
      body.push(writer.int32(partition).int32(bytes.length).done(), bytes);
      writer = new Writer();
    }
  }
  const request = { apiKey: PRODUCE, apiName: 'Produce', apiVersion: version };
  const answer = await link.write(request, body, acks !== 0);
  if (!answer) return [];
  const reader = new Reader(answer);
  const produced = decode(reader, version);
  if (version >= 6) link.pause(reader.int32());
  return produced;
}

function decode(reader: Reader, version: number): Produced[] {
  const produced: Produced[] = [];
  reader.list(() => {
    const topic = reader.text() ?? '';
    reader.list(() => {
      const [partition, errorCode] = [reader.int32(), reader.int16()];
      reader.at += version >= 5 ? 24 : 16;
      produced.push({ topic, partition, errorCode });
    });
  });
  return produced;
}
