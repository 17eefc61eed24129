/** Beside sidecars of another make, which all use the group's name as their consumer's. */

import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import type { Redis } from 'ioredis';
import { publish, Recorder, retry, subscribe, SUCCESS, texts } from '../conformance/bench.ts';
import { RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

type Entry = [id: string, fields: string[]];

/** What such a sidecar does: reads, and claims what has been idle for its processing timeout. */
class OtherSidecar {
  private readonly client: Redis;
  private readonly topic: string;

  constructor(client: Redis, topic: string) {
    this.client = client;
    this.topic = topic;
  }

  async read(count: number): Promise<Entry[]> {
    const reply = await this.client.call('xreadgroup', [
      'GROUP',
      'team',
      'team',
      'COUNT',
      count,
      'STREAMS',
      this.topic,
      '>',
    ]);
    return (reply as [string, Entry[]][] | null)?.[0]?.[1] ?? [];
  }

  async reclaim(processingTimeoutMs: number): Promise<Entry[]> {
    const pending = (await this.client.call('xpending', [this.topic, 'team', '-', '+', 100])) as [
      string,
      string,
      number,
    ][];
    const ids = pending.filter(([, , idle]) => idle >= processingTimeoutMs).map(([id]) => id);
    if (ids.length === 0) return [];
    return (await this.client.call('xclaim', [this.topic, 'team', 'team', processingTimeoutMs, ...ids])) as Entry[];
  }

  async acknowledge(entries: readonly Entry[]): Promise<void> {
    await this.client.call('xack', [this.topic, 'team', ...entries.map(([id]) => id)]);
  }
}

test('an entry has the fields data and metadata, and nothing else', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const data = Buffer.from('{"a":1}');
  await broker.publish('orders', [{ data, contentType: 'application/json', metadata: { ttlInSeconds: '5' } }]);
  await broker.publish('orders', [{ data, contentType: 'application/json', metadata: {} }]);
  const entries = (await server.ask('xrange', 'orders', '-', '+')) as Entry[];
  t.deepEqual(entries.map(([, fields]) => fields), [
    ['data', '{"a":1}', 'metadata', '{"ttlInSeconds":"5"}'],
    ['data', '{"a":1}', 'metadata', '{}'],
  ]); // prettier-ignore
});

test('fields may come in any order, metadata may be missing or no JSON', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await server.ask('xadd', 'orders', '*', 'metadata', '{"a":"b"}', 'data', 'first');
  await server.ask('xadd', 'orders', '*', 'data', 'second');
  await server.ask('xadd', 'orders', '*', 'data', 'third', 'metadata', '{broken');
  await server.ask('xadd', 'orders', '*', 'other', 'fourth');
  await until(() => recorder.messages.length === 4, 'all arrived');
  t.deepEqual(recorder.texts, ['first', 'second', 'third', '']);
  t.deepEqual(recorder.messages.map(({ metadata }) => ({ ...metadata })), [{ a: 'b' }, {}, {}, {}]); // prettier-ignore
});

test('two makes of sidecar share a group: each message is handled by one of them', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder(() => new Promise((resolve) => setTimeout(() => resolve({ kind: 'success' }), 5)));
  await subscribe(broker, 'orders', recorder);
  const other = new OtherSidecar(server.client(), 'orders');
  const theirs: string[] = [];
  await publish(broker, 'orders', ...texts('m', 200));
  await until(async () => {
    const entries = await other.read(10);
    theirs.push(...entries.map(([, fields]) => fields[1] as string));
    if (entries.length > 0) await other.acknowledge(entries);
    return recorder.messages.length + theirs.length >= 200;
  }, 'all were handled');
  await until(async () => (await broker.stats('orders')).pending === 0, 'all settled');
  t.deepEqual([...recorder.texts, ...theirs].toSorted(), texts('m', 200).toSorted());
  t.true(theirs.length > 0 && recorder.messages.length > 0);
});

test('what the other make left behind is taken over when the processing timeout is over', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address, processingTimeout: '1s' });
  const recorder = new Recorder();
  await publish(broker, 'orders', ...texts('m', 20));
  await server.ask('xgroup', 'CREATE', 'orders', 'team', '0');
  const other = new OtherSidecar(server.client(), 'orders');
  const began = performance.now();
  await other.read(20);
  await subscribe(broker, 'orders', recorder);
  await until(() => recorder.messages.length === 20, 'all were taken over');
  t.true(performance.now() - began > 999);
  t.true(recorder.messages.every(({ attempt }) => attempt === 2));
});

test('the other make gets what we gave back, and nothing that we have in hand, queued, waiting or parked', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = {
    redisHost: server.address,
    concurrency: '2',
    processingTimeout: '2s',
    redeliverInterval: '60s',
  };
  const { broker } = await openSite(t, settings);
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const subscription = await broker.subscribe('orders', { metadata: {} }, async ({ data }) => {
    const content = Buffer.from(data).toString();
    if (content === 'parked') return { kind: 'retry', afterMs: Infinity };
    if (content === 'waiting') return { kind: 'retry', afterMs: 60_000 };
    await gate;
    return { kind: 'success' };
  });
  await publish(broker, 'orders', 'parked', 'waiting', 'running', 'running', 'queued', 'queued');
  await until(async () => (await broker.stats('orders')).parked === 1, 'they are in hand');
  const sibling = new Recorder();
  await subscribe((await openSite(t, settings)).broker, 'orders', sibling);
  const other = new OtherSidecar(server.client(), 'orders');
  const end = performance.now() + 5000;
  await until(async () => {
    t.deepEqual(await other.reclaim(2000), []);
    return performance.now() > end;
  }, 'the processing timeout has passed more than twice');
  t.deepEqual(sibling.texts, []);
  await subscription.close(AbortSignal.abort());
  open();
  const released = await other.reclaim(2000);
  t.deepEqual(
    released.map(([, fields]) => fields[1]),
    ['parked', 'waiting', 'running', 'running', 'queued', 'queued'],
  );
});

test('what the other make took over while it waited for its retry is not delivered here', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder(() => retry(1500));
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'failing');
  await until(() => recorder.messages.length === 1, 'it waits for its retry');
  const other = new OtherSidecar(server.client(), 'orders');
  const end = performance.now() + 3000;
  await until(async () => {
    await other.reclaim(0); // over and over: it is never idle for long
    return performance.now() > end;
  }, 'the retry was due');
  t.deepEqual(recorder.texts, ['failing']);
});

test('what was parked just before a stop is given back too', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const subscription = await subscribe(broker, 'orders', new Recorder(() => wait(500, retry(Infinity))));
  await publish(broker, 'orders', 'x');
  await until(async () => (await broker.stats('orders')).parked === 1, 'it is parked');
  await subscription.close(AbortSignal.timeout(5000));
  const [[, owner] = []] = (await server.ask('xpending', 'orders', 'team', '-', '+', 1)) as string[][];
  t.is(owner, 'team!released');
});

test('what is being renewed as a subscription closes is given back too', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address, entryKeepAliveInterval: '400ms' });
  const recorder = new Recorder(() => retry(60_000));
  const subscription = await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', ...texts('m', 3));
  await until(() => recorder.messages.length === 3, 'they wait for their retry');
  await wait(400);
  await server.ask('client', 'PAUSE', 2500, 'WRITE');
  await wait(1000); // the renewal is on its way
  await subscription.close(AbortSignal.timeout(10_000));
  const pending = (await server.ask('xpending', 'orders', 'team', '-', '+', 10)) as [id: string, owner: string][];
  t.deepEqual(pending.map(([, owner]) => owner), Array(3).fill('team!released')); // prettier-ignore
});

test('what fails while its sidecar stops is tried by another one when it is due, and not before', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  let failed = Infinity;
  const subscription = await broker.subscribe('orders', { metadata: {} }, async () => {
    await wait(500);
    failed = performance.now();
    return retry(2000);
  });
  await publish(broker, 'orders', 'x');
  await until(async () => (await broker.stats('orders')).pending === 1, 'it is in hand');
  await subscription.close(AbortSignal.timeout(10_000));
  let again = 0;
  const recorder = new Recorder(() => {
    again = performance.now();
    return SUCCESS;
  });
  await subscribe((await openSite(t, { redisHost: server.address })).broker, 'orders', recorder);
  await until(() => recorder.messages.length === 1, 'it came again');
  t.is(recorder.messages[0]?.attempt, 2);
  t.true(again - failed >= 1999, `came again after ${again - failed} ms`);
});

test('what a sibling has parked is delivered again when one asks for it, and not parked again by its owner', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '1500ms' };
  const [owner, asker] = await Promise.all([openSite(t, settings), openSite(t, settings)]);
  const subscription = await owner.broker.subscribe('orders', { metadata: {} }, async () => ({
    kind: 'retry',
    afterMs: Infinity,
  }));
  await publish(owner.broker, 'orders', ...texts('m', 3));
  await until(async () => (await asker.broker.stats('orders')).parked === 3, 'they are parked');
  t.is(await asker.broker.unpark('orders'), 3);
  const recorder = new Recorder(() => new Promise((resolve) => setTimeout(() => resolve({ kind: 'success' }), 4000)));
  void subscription.close(AbortSignal.abort());
  await subscribe(asker.broker, 'orders', recorder);
  await until(async () => (await asker.broker.stats('orders')).pending === 0, 'they are settled');
  t.deepEqual(recorder.texts.toSorted(), texts('m', 3));
  t.true(recorder.messages.every(({ attempt }) => attempt === 2));
});
