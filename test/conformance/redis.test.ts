import test from 'ava';
import { redisBroker } from '../../src/brokers/redis/broker.ts';
import { RedisServer } from '../_support/redis.ts';
import { contextOf } from './bench.ts';
import { conform } from './suite.ts';

const ends: (() => Promise<void>)[] = [];
let server: RedisServer;
test.before(async () => {
  server = await RedisServer.start((end) => ends.push(end), ['--databases', '100']);
});
test.after.always(() => Promise.all(ends.map((end) => end())));

const databases = new Map<string, number>();

conform({
  name: 'redis',
  abilities: { shared: true, durable: true, ordered: true, holdsOrder: true, parallel: true, wildcards: false },
  open: (place, consumerId, concurrency) => {
    if (!databases.has(place)) databases.set(place, databases.size);
    const settings = {
      redisHost: server.address,
      redisDB: String(databases.get(place)),
      concurrency: String(concurrency),
    };
    return redisBroker.open(settings, contextOf(consumerId, ''));
  },
});
