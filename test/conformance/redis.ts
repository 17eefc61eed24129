/** The suite on real redis-server processes, alone or several that belong together. */

import test from 'ava';
import { redisBroker } from '../../src/brokers/redis/broker.ts';
import type { AtEnd, RedisServer } from '../_support/redis.ts';
import { contextOf } from './bench.ts';
import { conform } from './suite.ts';

export interface Deployment {
  /** How a broker gets there. */
  readonly settings: Readonly<Record<string, string>>;
  /** Those that are written to. */
  readonly masters: readonly RedisServer[];
}

/** Registers the suite on what `start` starts. Every test finds the servers empty, since a cluster has one database only. */
export function conformOnRedis(name: string, start: (atEnd: AtEnd) => Promise<Deployment>): void {
  const ends: (() => Promise<void>)[] = [];
  let deployment: Deployment;
  test.before(async () => {
    deployment = await start((end) => ends.push(end));
  });
  test.after.always(() => Promise.all(ends.map((end) => end())));

  let lastPlace = '';
  const empty = async (place: string): Promise<void> => {
    if (place === lastPlace) return;
    lastPlace = place;
    await Promise.all(deployment.masters.map((server) => server.ask('flushall')));
  };
  conform({
    name,
    abilities: { shared: true, durable: true, ordered: true, holdsOrder: true, parallel: true, wildcards: false },
    async open(place, consumerId, concurrency) {
      await empty(place);
      const settings = { ...deployment.settings, concurrency: String(concurrency) };
      return redisBroker.open(settings, contextOf(consumerId, ''));
    },
  });
}
