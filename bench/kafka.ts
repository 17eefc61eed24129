/** The Kafka that sidecars are measured with: one that runs already, or a broker of the bench's own for all its runs. */

import { Kafka, logLevel } from 'kafkajs';
import { KafkaServer } from '../test/_support/kafka.ts';

const ends: (() => Promise<void>)[] = [];
let own: Promise<KafkaServer> | undefined;

export interface RunningKafka {
  readonly address: string;
  readonly pid?: number;
}

/** `address` is host:port of one that runs, or empty. */
export async function openKafka(address: string): Promise<RunningKafka> {
  if (address !== '') return { address };
  const server = await (own ??= KafkaServer.start((end) => ends.push(end)));
  return { address: server.address, ...(server.pid !== undefined && { pid: server.pid }) };
}

export async function closeKafka(): Promise<void> {
  await Promise.all(ends.splice(0).map((end) => end()));
}

export async function createTopic(address: string, topic: string, numPartitions: number): Promise<void> {
  const admin = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: false });
  await admin.disconnect();
}
