/** The Produce request, with batches that are encoded already. */

import { Reader, Writer } from './bytes.ts';
import { apiKeys, encoderOf, type ProtocolRequest } from './kafkajs.ts';

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

export const PRODUCE = apiKeys['Produce'] as number;
/** From 3 on the request has record batches; 7 may have zstd in them, and 8 is not needed. */
const [LEAST, MOST] = [3, 7];

/** `acks`: -1 all, 1 the leader, 0 nobody, and then nothing is answered. */
export function produceRequest(
  batches: readonly BatchFor[],
  acks: number,
  timeoutMs: number,
  brokerVersion: number,
): ProtocolRequest<readonly Produced[]> {
  const version = Math.max(LEAST, Math.min(MOST, brokerVersion));
  const size = batches.reduce((sum, { topic, bytes }) => sum + bytes.length + 2 * topic.length + 32, 64);
  const writer = new Writer(size).text(null).int16(acks).int32(timeoutMs);
  const topics = [...Map.groupBy(batches, ({ topic }) => topic)];
  writer.list(topics, ([topic, ofTopic]) => {
    writer.text(topic).list(ofTopic, ({ partition, bytes }) => writer.int32(partition).block(bytes));
  });
  return {
    request: {
      apiKey: PRODUCE,
      apiVersion: version,
      apiName: 'Produce',
      expectResponse: () => acks !== 0,
      encode: async () => encoderOf(writer.done()),
    },
    response: {
      decode: async (bytes) => decode(new Reader(bytes), version),
      parse: async (decoded) => (decoded as { produced: readonly Produced[] }).produced,
    },
  };
}

function decode(reader: Reader, version: number): { produced: Produced[]; clientSideThrottleTime: number } {
  const produced: Produced[] = [];
  reader.list(() => {
    const topic = reader.text() ?? '';
    reader.list(() => {
      const [partition, errorCode] = [reader.int32(), reader.int16()];
      reader.at += version >= 5 ? 24 : 16;
      produced.push({ topic, partition, errorCode });
    });
  });
  return { produced, clientSideThrottleTime: version >= 6 ? reader.int32() : 0 };
}
