/** Publishes that are acknowledged when replicas have them. */

import test from 'ava';
import { publish, Recorder, subscribe, text, texts } from '../conformance/bench.ts';
import { componentFile, publish as publishOver, startDaprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { RedisServer, startCluster, startClusterReplica, startReplica } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

const TOO_FEW =
  /^redis streams: error from publish: 0 of 1 replica had the event within .*: it is stored and may be delivered, /;

test('a publish is acknowledged when the replica has it, and not before', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const replica = await startReplica(t.teardown, server);
  const { broker } = await openSite(t, { redisHost: server.address, wait: '1', waitTimeout: '60s' });
  for (let count = 1; count <= 20; count++) {
    await publish(broker, 'orders', 'm');
    t.is(await replica.ask('xlen', 'orders'), count);
  }
  replica.signal('SIGSTOP');
  let answered = 0;
  const publishing = texts('held', 50).map((content) =>
    broker.publish('orders', [text(content), text(content)]).finally(() => answered++),
  );
  await until(async () => Number(await server.ask('xlen', 'orders')) === 120, 'the server has them');
  const late = broker.publish('orders', [text('late')]).finally(() => answered++);
  await broker.ping();
  t.is(answered, 0);
  replica.signal('SIGCONT');
  t.deepEqual((await Promise.all([...publishing, late])).flat(), []);
  t.is(await replica.ask('xlen', 'orders'), 121);
});

test('a replica that hangs fails publishes in time, and holds up nothing else', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const replica = await startReplica(t.teardown, server);
  const { broker } = await openSite(t, { redisHost: server.address, wait: '1', waitTimeout: '500ms' });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  replica.signal('SIGSTOP');
  const began = performance.now();
  const first = broker.publish('orders', texts('first', 3).map(text)).then((failures) => {
    return { failures, ms: performance.now() - began };
  });
  await until(() => recorder.messages.length === 3, 'they are delivered all the same');
  const second = await broker.publish('orders', [text('second')]);
  const ms = performance.now() - began;
  const { failures, ms: firstMs } = await first;
  t.deepEqual(failures.map(({ index }) => index).toSorted(), [0, 1, 2]); // prettier-ignore
  for (const { error } of [...failures, ...second]) t.regex(error.message, TOO_FEW);
  t.is(second.length, 1);
  t.true(firstMs >= 490 && firstMs < 5000, `${firstMs} ms`);
  t.true(ms >= 490 && ms < 10_000, `${ms} ms`);
  await until(
    async () => recorder.messages.length === 4 && (await broker.stats('orders')).pending === 0,
    'all settled',
  );
  replica.signal('SIGCONT');
  await until(async () => (await broker.publish('orders', [text('after')])).length === 0, 'it is well again');
});

test('more replicas than there are is said with how many had it', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await startReplica(t.teardown, server);
  const { broker } = await openSite(t, { redisHost: server.address, wait: '2', waitTimeout: '1s' });
  const [failure] = await broker.publish('orders', [text('m')]);
  t.regex(failure?.error.message ?? '', /: 1 of 2 replicas had the event within 1s: /);
});

test('what the server refuses is refused with its words, beside what replicas have', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await startReplica(t.teardown, server);
  const { broker } = await openSite(t, { redisHost: server.address, wait: '1', waitTimeout: '60s' });
  await server.ask('set', 'broken', 'by somebody');
  const [[failure], taken] = await Promise.all([
    broker.publish('broken', [text('m')]),
    broker.publish('orders', [text('m')]),
  ]);
  t.regex(failure?.error.message ?? '', /^redis streams: error from publish: WRONGTYPE /);
  t.deepEqual(taken, []);
});

test('a dead letter that no replica has leaves the event where it is', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const replica = await startReplica(t.teardown, server);
  const settings = { redisHost: server.address, wait: '1', waitTimeout: '200ms' };
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders', deadLetterTopic: 'dead' }],
    reply: async () => {
      await gate;
      return { status: 200, body: '{"status":"DROP"}' };
    },
  });
  t.teardown(() => app.close());
  const resources = { 'pubsub.yaml': componentFile('pubsub.redis', settings) };
  const daprd = await startDaprd(t, { appPort: app.port, resources });
  await until(async () => (await publishOver(daprd, 'orders', {})).status === 204, 'it is acknowledged');
  await until(() => app.received.length > 0, 'it is in hand');
  const pending = async (): Promise<number> => ((await server.ask('xpending', 'orders', 'app')) as [number])[0];
  const before = await pending();
  replica.signal('SIGSTOP');
  open();
  await until(async () => Number(await server.ask('xlen', 'dead')) > before, 'dead letters were written in vain');
  t.is(await pending(), before);
  replica.signal('SIGCONT');
  await until(async () => (await pending()) === 0, 'the dead letter is safe, the event is settled');
  t.true(Number(await replica.ask('xlen', 'dead')) > 0);
});

test('on a cluster the replicas of the node that has the topic count, also when it moves', async (t) => {
  const servers = await startCluster(t.teardown);
  const slot = Number(await servers[0].ask('cluster', 'KEYSLOT', 'orders'));
  const from = servers[Math.floor((slot * 3) / 16_384)] ?? servers[2];
  const to = servers.find((server) => server !== from) ?? t.fail();
  await startClusterReplica(t.teardown, servers, from);
  const settings = { redisType: 'cluster', wait: '1', waitTimeout: '1s' };
  const { broker } = await openSite(t, { redisHost: servers[0].address, ...settings });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await Promise.all(texts('before', 20).map((content) => publish(broker, 'orders', content)));
  await until(() => recorder.messages.length === 20, 'they arrived');

  const idOf = async (server: RedisServer): Promise<string> => String(await server.ask('cluster', 'MYID'));
  await to.ask('cluster', 'SETSLOT', slot, 'IMPORTING', await idOf(from));
  await from.ask('cluster', 'SETSLOT', slot, 'MIGRATING', await idOf(to));
  await from.ask('migrate', '127.0.0.1', to.port, 'orders', 0, 5000);
  for (const server of [to, from]) await server.ask('cluster', 'SETSLOT', slot, 'NODE', await idOf(to));
  const failures = await broker.publish('orders', texts('moved', 2).map(text));
  t.is(failures.length, 2);
  for (const { error } of failures) t.regex(error.message, TOO_FEW);
  await startClusterReplica(t.teardown, servers, to);
  await until(async () => (await broker.publish('orders', [text('after')])).length === 0, 'it has a replica there');
  await until(() => recorder.texts.includes('after'), 'it arrived');
});

test('on a cluster a replica that takes over has what was acknowledged, and publishes go on with the next one', async (t) => {
  const servers = await startCluster(t.teardown);
  const slot = Number(await servers[0].ask('cluster', 'KEYSLOT', 'orders'));
  const master = servers[Math.floor((slot * 3) / 16_384)] ?? servers[2];
  const replica = await startClusterReplica(t.teardown, servers, master);
  const settings = { redisType: 'cluster', wait: '1', waitTimeout: '500ms' };
  const { broker } = await openSite(t, { redisHost: servers.map(({ address }) => address).join(','), ...settings });
  const acknowledged: string[] = [];
  const publishOne = async (content: string): Promise<boolean> => {
    const isTaken = (await broker.publish('orders', [text(content)])).length === 0;
    if (isTaken) acknowledged.push(content);
    return isTaken;
  };
  await Promise.all(texts('before', 50).map(publishOne));
  t.is(acknowledged.length, 50);
  const during = Promise.all(texts('during', 50).map(publishOne));
  await master.kill();
  await during;
  await until(async () => /role:master/.test(String(await replica.ask('info', 'replication'))), 'it takes over');
  t.false(await publishOne('alone'));
  await master.start();
  await until(() => publishOne('after'), 'it goes on');
  const entries = (await replica.ask('xrange', 'orders', '-', '+')) as [string, string[]][];
  const stored = new Set(entries.map(([, [, data]]) => data));
  t.deepEqual(acknowledged.filter((content) => !stored.has(content)), []); // prettier-ignore
});
