import test from 'ava';
import { kafkaBroker } from '../../src/brokers/kafka/broker.ts';
import type { Broker } from '../../src/core/broker.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { contextOf, type Harness } from './bench.ts';
import { conform } from './suite.ts';

const ends: (() => Promise<void>)[] = [];
const servers = new Map<number, KafkaServer>();
test.before(async () => {
  const start = (partitions: number): Promise<KafkaServer> =>
    KafkaServer.start((end) => ends.push(end), { properties: { 'num.partitions': String(partitions) } });
  for (const partitions of [1, 4]) servers.set(partitions, await start(partitions));
});
test.after.always(() => Promise.all(ends.map((end) => end())));

/** What a delivery adds to the metadata of the publisher. */
const ADDED = ['__key', '__topic', '__partition', '__offset', '__timestamp'];

/** The topics of a place are apart from those of others by their names. */
function placed(broker: Broker, place: string): Broker {
  const named = (topic: string): string => `${place}.${topic}`;
  return {
    features: broker.features,
    publish: (topic, messages) => broker.publish(named(topic), messages),
    subscribe: (topic, options, handler) =>
      broker.subscribe(named(topic), options, (message, signal) => {
        const metadata = { ...message.metadata };
        for (const name of ADDED) delete metadata[name];
        return handler({ ...message, topic: message.topic.slice(place.length + 1), metadata }, signal);
      }),
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
        brokers: servers.get(partitions)?.address ?? '',
        authType: 'none',
        initialOffset: 'oldest',
        maxInFlight: String(concurrency),
        maxMessageBytes: String(2 * 2 ** 20),
        heartbeatInterval: '100ms',
        ordering,
      };
      return placed(await kafkaBroker.open(settings, contextOf(`${place}.${consumerId}`, '')), place);
    },
  };
}

conform(harness('kafka', 4, 'none', { parallel: true }));
conform(harness('kafka in order', 1, 'key', { ordered: true, holdsOrder: true }));
