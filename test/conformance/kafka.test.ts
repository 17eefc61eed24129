import test from 'ava';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import { kafkaBroker } from '../../src/brokers/kafka/broker.ts';
import type { Broker } from '../../src/core/broker.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { contextOf, type Harness } from './bench.ts';
import { conform } from './suite.ts';

const ends: (() => Promise<void>)[] = [];
/** host:port of a broker of the tests' own, or those that KAFKA_BROKERS names. */
let brokers = process.env['KAFKA_BROKERS'] ?? '';
let admin: Admin;
test.before(async () => {
  if (brokers === '') brokers = (await KafkaServer.start((end) => ends.push(end))).address;
  admin = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).admin();
  ends.unshift(() => admin.disconnect());
  await admin.connect();
});
test.after.always(async () => {
  for (const end of ends) await end();
});

/** Topics that were made, with a number of partitions that is the harness's. */
const made = new Map<string, Promise<unknown>>();

function make(topic: string, numPartitions: number): Promise<unknown> {
  const making = made.get(topic) ?? admin.createTopics({ topics: [{ topic, numPartitions }], waitForLeaders: false });
  made.set(topic, making);
  return making;
}

/** What a delivery adds to the metadata of the publisher. */
const ADDED = ['__key', '__topic', '__partition', '__offset', '__timestamp'];

/** The topics of a place are apart from those of others by their names. */
function placed(broker: Broker, place: string, partitions: number): Broker {
  const named = (topic: string): string => `${place}.${topic}`;
  return {
    features: broker.features,
    async publish(topic, messages) {
      await make(named(topic), partitions);
      return broker.publish(named(topic), messages);
    },
    async subscribe(topic, options, handler) {
      await make(named(topic), partitions);
      return broker.subscribe(named(topic), options, (message, signal) => {
        const metadata = { ...message.metadata };
        for (const name of ADDED) delete metadata[name];
        return handler({ ...message, topic: message.topic.slice(place.length + 1), metadata }, signal);
      });
    },
    stats: (topic) => broker.stats(named(topic)),
    unpark: (topic) => broker.unpark(named(topic)),
    ping: () => broker.ping(),
    close: () => broker.close(),
  };
}

function harness(
  name: string,
  partitions: number,
  ordering: string,
  abilities: Partial<Harness['abilities']>,
): Harness {
  return {
    name,
    abilities: {
      shared: true,
      durable: true,
      ordered: false,
      holdsOrder: false,
      parallel: false,
      wildcards: false,
      refusedBytes: 3 * 2 ** 20,
      ...abilities,
    },
    async open(place, consumerId, concurrency) {
      const settings = {
        brokers,
        authType: 'none',
        initialOffset: 'oldest',
        maxInFlight: String(concurrency),
        maxMessageBytes: String(2 * 2 ** 20),
        heartbeatInterval: '100ms',
        ordering,
      };
      return placed(await kafkaBroker.open(settings, contextOf(`${place}.${consumerId}`, '')), place, partitions);
    },
  };
}

conform(harness('kafka', 4, 'none', { parallel: true }));
conform(harness('kafka in order', 1, 'key', { ordered: true, holdsOrder: true }));
