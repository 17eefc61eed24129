/** Sentinels and clusters. */

import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { publish, Recorder, subscribe, text, texts } from '../conformance/bench.ts';
import { startCluster, startSentinels } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

test('when the master dies its successor is used within seconds, and nothing that it knew is lost', async (t) => {
  const { master, replica, sentinels, name } = await startSentinels(t.teardown);
  const settings = { redisHost: sentinels, failover: 'true', sentinelMasterName: name };
  const { broker } = await openSite(t, settings);
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', ...texts('before', 20));
  await until(async () => recorder.messages.length === 20 && (await broker.stats('orders')).pending === 0, 'settled');
  await until(async () => Number(await replica.ask('xlen', 'orders')) === 20, 'the replica has them');
  await master.kill();
  const killed = performance.now();
  await until(async () => (await broker.publish('orders', [text('after')])).length === 0, 'it goes on');
  await until(() => recorder.texts.includes('after'), 'it arrived');
  t.true(performance.now() - killed < 30_000);
  t.true(recorder.texts.filter((content) => content !== 'after').length >= 20);
});

test('topics on all nodes of a cluster work, also when one of them is gone for a while', async (t) => {
  const servers = await startCluster(t.teardown);
  const { broker } = await openSite(t, {
    redisHost: servers.map(({ address }) => address).join(','),
    redisType: 'cluster',
  });
  const topics = texts('topic', 12);
  const recorders = topics.map(() => new Recorder());
  await Promise.all(topics.map((topic, index) => subscribe(broker, topic, recorders[index] as Recorder)));
  await Promise.all(topics.map((topic) => publish(broker, topic, ...texts('m', 3))));
  await until(() => recorders.every(({ messages }) => messages.length === 3), 'all arrived');
  const used = await Promise.all(servers.map(async (server) => Number(await server.ask('dbsize'))));
  t.true(used.every((keys) => keys > 0), 'every node has topics'); // prettier-ignore

  const [, victim] = servers;
  await victim.kill();
  await until(async () => {
    const failures = await Promise.all(topics.map((topic) => broker.publish(topic, [text('while away')])));
    return failures.some((list) => list.length > 0);
  }, 'topics of that node refuse');
  await victim.start();
  for (const topic of topics) {
    await until(async () => (await broker.publish(topic, [text('after')])).length === 0, `${topic} takes messages`);
  }
  // The node had no persistence: the groups of its topics were lost with it and made again.
  await until(() => recorders.every(({ texts: contents }) => contents.includes('after')), 'all arrived');
  for (const topic of topics) {
    await until(async () => (await broker.stats(topic)).pending === 0, `${topic} is settled`);
  }
});

test('a slot that moves to another node takes its topic along', async (t) => {
  const servers = await startCluster(t.teardown);
  const { broker } = await openSite(t, { redisHost: servers[0].address, redisType: 'cluster' });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'before');
  await until(async () => recorder.messages.length === 1 && (await broker.stats('orders')).pending === 0, 'it settled');
  const slot = Number(await servers[0].ask('cluster', 'KEYSLOT', 'orders'));
  const from = servers[Math.floor((slot * 3) / 16_384)] ?? servers[2];
  const to = servers.find((server) => server !== from) ?? t.fail();
  const idOf = async (server: typeof from): Promise<string> => String(await server.ask('cluster', 'MYID'));
  await to.ask('cluster', 'SETSLOT', slot, 'IMPORTING', await idOf(from));
  await from.ask('cluster', 'SETSLOT', slot, 'MIGRATING', await idOf(to));
  await from.ask('migrate', '127.0.0.1', to.port, 'orders', 0, 5000);
  for (const server of [to, from]) await server.ask('cluster', 'SETSLOT', slot, 'NODE', await idOf(to));
  await until(async () => (await broker.publish('orders', [text('after')])).length === 0, 'it takes messages');
  await until(() => recorder.texts.includes('after'), 'it arrived');
  await wait(100);
  await until(async () => (await broker.stats('orders')).pending === 0, 'it is settled');
  t.deepEqual(recorder.texts.filter((content) => content === 'before').length, 1);
});
