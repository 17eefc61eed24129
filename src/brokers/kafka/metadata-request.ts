/** The Metadata request: the brokers, and who leads the partitions of topics. */

import { Reader, Writer } from './bytes.ts';
import { apiKeys } from './kafkajs.ts';
import type { Link } from './link.ts';

export interface Metadata {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly topicMetadata: readonly {
    readonly topicErrorCode: number;
    readonly topic: string;
    /** Another one when the topic was made anew; brokers before Kafka 2.8 do not tell. */
    readonly topicId?: string;
    readonly partitionMetadata: readonly { readonly partitionId: number; readonly leader: number }[];
  }[];
}

const METADATA = apiKeys['Metadata'] as number;
/** The first that tells the ids of topics; kafkajs has none of those. */
const VERSION = 10;
const ID_LENGTH = 16;
const ANY_ID = Buffer.alloc(ID_LENGTH);

/** The answer has the errors of single topics in it. */
export async function askForTopics(link: Link, topics: readonly string[], create: boolean): Promise<Metadata> {
  if (link.versionOf(METADATA) < VERSION) {
    return link.askEach<Metadata>('Metadata', { topics, allowAutoTopicCreation: create });
  }
  const writer = new Writer().noTags().uvarint(topics.length + 1);
  for (const topic of topics) writer.append(ANY_ID).compactText(topic).noTags();
  writer.int8(Number(create)).int8(0).int8(0).noTags();
  const request = { apiKey: METADATA, apiName: 'Metadata', apiVersion: VERSION };
  const reader = new Reader((await link.write(request, [writer.done()], true)) as Buffer);
  reader.skipTags();
  link.pause(reader.int32());
  return decode(reader);
}

function decode(reader: Reader): Metadata {
  const numbers = (): number[] => reader.compactList(() => reader.int32());
  const brokers = reader.compactList(() => {
    const [nodeId, host, port] = [reader.int32(), reader.compactText() ?? '', reader.int32()];
    reader.compactText();
    reader.skipTags();
    return { nodeId, host, port };
  });
  reader.compactText();
  reader.int32();
  const topicMetadata = reader.compactList(() => {
    const [topicErrorCode, topic] = [reader.int16(), reader.compactText() ?? ''];
    const topicId = reader.slice(ID_LENGTH).toString('hex');
    reader.int8();
    const partitionMetadata = reader.compactList(() => {
      const [, partitionId, leader] = [reader.int16(), reader.int32(), reader.int32(), reader.int32()];
      for (let lists = 3; lists > 0; lists--) numbers();
      reader.skipTags();
      return { partitionId, leader };
    });
    reader.int32();
    reader.skipTags();
    return { topicErrorCode, topic, topicId, partitionMetadata };
  });
  return { brokers, topicMetadata };
}
