/** How much is taken when, and in which order. */

import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { NEVER, publish, Recorder, retry, subscribe, SUCCESS, text, textOf, texts } from '../conformance/bench.ts';
import { RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

test('no more is taken from the server than can be handled soon, and slow handlers cause no second delivery', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '1500ms', concurrency: '4' };
  const [{ broker }, sibling] = await Promise.all([openSite(t, settings), openSite(t, settings)]);
  await publish(broker, 'orders', ...texts('m', 500));
  const slow = new Recorder(() => wait(1200, SUCCESS));
  await subscribe(broker, 'orders', slow);
  await subscribe(sibling.broker, 'orders', slow);
  const end = performance.now() + 6000;
  await until(async () => {
    const [pending] = (await server.ask('xpending', 'orders', 'team')) as [number];
    t.true(pending <= 2 * (4 + 10 + 4), `${pending} pending`);
    return performance.now() > end;
  }, 'it went on for a while');
  t.is(new Set(slow.texts).size, slow.texts.length);
});

test('a topic whose handlers hang does not slow another one down', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  await subscribe(broker, 'hanging', new Recorder(() => new Promise(() => undefined)));
  await publish(broker, 'hanging', ...texts('h', 15));
  const fast = new Recorder();
  await subscribe(broker, 'fast', fast);
  await until(async () => (await broker.stats('hanging')).pending === 10, 'all its handlers hang');
  for (let from = 0; from < 5000; from += 500) await publish(broker, 'fast', ...texts(`m${from}`, 500));
  await until(() => fast.messages.length === 5000, 'the other is done');
  t.is((await broker.stats('hanging')).pending, 10);
});

test('a hundred subscriptions that come and go leave no connection behind and swallow nothing', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  for (let i = 0; i < 100; i++) await (await subscribe(broker, 'orders', recorder)).close(NEVER);
  await publish(broker, 'orders', ...texts('m', 20));
  await subscribe(broker, 'orders', recorder);
  await until(() => recorder.messages.length === 20, 'all arrived');
  t.true(recorder.messages.every(({ attempt }) => attempt === 1));
  const clients = async (): Promise<string[]> =>
    String(await server.ask('client', 'LIST'))
      .trim()
      .split('\n');
  await until(async () => (await clients()).length <= 4, 'a few connections are left');
});

test('a new topic is read at once, though a read of others is waiting', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address, readTimeout: '10s' });
  await subscribe(broker, 'idle', new Recorder());
  const took: number[] = [];
  for (const topic of texts('topic', 9)) {
    const recorder = new Recorder();
    const subscription = await subscribe(broker, topic, recorder);
    const began = performance.now();
    await publish(broker, topic, 'x');
    await until(() => recorder.messages.length === 1, 'it arrived');
    await subscription.close(NEVER);
    took.push(performance.now() - began);
  }
  // A read waits for two seconds, and has just begun.
  t.true(Math.min(...took) < 1000, took.map(Math.round).join(' '));
});

test('with a concurrency of 1 the order outlives the broker, also when the first one waits for its retry', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, concurrency: '1' };
  const first = await openSite(t, settings);
  let failed = Infinity;
  const before = new Recorder((message) => {
    if (textOf(message) !== 'm-1') return SUCCESS;
    failed = performance.now();
    return retry(700);
  });
  await subscribe(first.broker, 'orders', before);
  await publish(first.broker, 'orders', ...texts('m', 30));
  await until(() => before.messages.length === 2, 'the second one failed');
  await first.broker.close();
  let again = 0;
  const after = new Recorder(() => {
    again ||= performance.now();
    return SUCCESS;
  });
  await subscribe((await openSite(t, settings)).broker, 'orders', after);
  await until(() => after.messages.length === 29, 'all the others came');
  t.deepEqual(after.texts, texts('m', 30).slice(1));
  t.is(after.messages[0]?.attempt, 2);
  t.true(after.messages.slice(1).every(({ attempt }) => attempt === 1));
  t.true(again - failed >= 699, `came again after ${again - failed} ms`);
});

test('with a concurrency of 1 a retry has room, however much was read ahead', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address, concurrency: '1', queueDepth: '1' });
  const recorder = new Recorder(({ attempt }) => (attempt === 1 ? retry(300) : SUCCESS));
  await publish(broker, 'orders', ...texts('m', 5));
  await subscribe(broker, 'orders', recorder);
  await until(() => recorder.messages.length === 10, 'all came twice');
  t.deepEqual(
    recorder.texts,
    texts('m', 5).flatMap((one) => [one, one]),
  );
});

test('with a concurrency of 1 a handler that slows down and fails does not end the topic', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address, concurrency: '1' });
  const recorder = new Recorder(async (message) => {
    if (textOf(message) !== 'm-400' || message.attempt > 1) return SUCCESS;
    await wait(1500);
    return retry(100);
  });
  await publish(broker, 'orders', ...texts('m', 500));
  await subscribe(broker, 'orders', recorder);
  await until(() => recorder.messages.length === 501, 'all came');
  t.deepEqual([...new Set(recorder.texts)], texts('m', 500));
});

test('a retry that falls due while another one is claimed does not wait for it', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder((message) => {
    if (message.attempt > 1) return textOf(message) === 'first' ? new Promise(() => undefined) : SUCCESS;
    return retry(textOf(message) === 'first' ? 500 : 700);
  });
  await publish(broker, 'orders', 'first', 'second');
  await subscribe(broker, 'orders', recorder);
  await until(() => recorder.messages.length === 2, 'both failed');
  await server.ask('client', 'PAUSE', 1500, 'WRITE');
  await until(() => recorder.messages.length === 4, 'both came again');
  t.pass();
});

test('times that are longer than a timer can wait come as late as one can', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redeliverInterval: '700h', processingTimeout: '3000h', entryKeepAliveInterval: '700h' };
  const { broker } = await openSite(t, { redisHost: server.address, ...settings });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  for (const text of texts('m', 100)) {
    await publish(broker, 'orders', text);
    await until(() => recorder.texts.includes(text), 'it came');
  }
  const [looks] = /(?<=cmdstat_xinfo.consumers:calls=)\d+/.exec(String(await server.ask('info', 'commandstats'))) ?? [];
  t.true(Number(looks) < 10, `${looks} looks`);
});

test('maxLenApprox and streamTTL keep streams short', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const short = await openSite(t, { redisHost: server.address, maxLenApprox: '100' });
  await publish(short.broker, 'short', ...texts('m', 1000));
  t.true(Number(await server.ask('xlen', 'short')) < 400);
  const young = await openSite(t, { redisHost: server.address, streamTTL: '1h' });
  const old = Date.now() - 7_200_000;
  await server.ask('eval', `for i = 1, 300 do redis.call('XADD', 'young', '${old}-' .. i, 'data', 'old') end`, 0);
  await publish(young.broker, 'young', 'new');
  t.true(Number(await server.ask('xlen', 'young')) <= 101);
});

test('a lag that the server does not know is counted', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  const subscription = await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'before');
  await until(() => recorder.messages.length === 1, 'it arrived');
  await subscription.close(NEVER);
  await publish(broker, 'orders', ...texts('m', 600));
  const entries = (await server.ask('xrange', 'orders', '-', '+')) as [string][];
  await server.ask('xdel', 'orders', entries[300]?.[0] ?? '');
  const [group] = (await server.ask('xinfo', 'GROUPS', 'orders')) as [unknown[]];
  t.is(group[group.indexOf('lag') + 1], null);
  const { lag, oldestUnsettledMs } = await broker.stats('orders');
  t.is(lag, 599);
  t.true(oldestUnsettledMs >= 0 && oldestUnsettledMs < 60_000);
});

test('what was trimmed before it was read is no lag', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  const subscription = await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'before');
  await until(() => recorder.messages.length === 1, 'it arrived');
  await subscription.close(NEVER);
  await publish(broker, 'orders', ...texts('m', 600));
  await server.ask('xtrim', 'orders', 'MAXLEN', 100);
  t.is((await broker.stats('orders')).lag, 100);
  await subscribe(broker, 'orders', recorder);
  await until(async () => recorder.messages.length === 101 && (await broker.stats('orders')).pending === 0, 'settled');
  t.deepEqual(await broker.stats('orders'), { lag: 0, pending: 0, oldestUnsettledMs: 0, parked: 0 });
});

test('large messages arrive unchanged', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const large = { ...text(''), data: Buffer.alloc(4 * 2 ** 20, 'x') };
  const recorder = new Recorder(() => wait(20, SUCCESS));
  for (let i = 0; i < 10; i++) t.deepEqual(await broker.publish('large', [large]), []);
  await subscribe(broker, 'large', recorder);
  await until(async () => recorder.messages.length === 10 && (await broker.stats('large')).pending === 0, 'all came');
  t.true(recorder.messages.every(({ data }) => data.length === large.data.length));
});

test('large messages that wait for a new subscription are not read many at once', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const large = { ...text(''), data: Buffer.alloc(8 * 2 ** 20, 'x') };
  for (let i = 0; i < 12; i++) t.deepEqual(await broker.publish('large', [large]), []);
  let [isOpen, most] = [false, 0];
  const recorder = new Recorder(async () => {
    await until(() => isOpen, 'they may go on');
    most = Math.max(most, (await broker.stats('large')).pending);
    return SUCCESS;
  });
  await subscribe(broker, 'large', recorder);
  await until(() => recorder.messages.length >= 4, 'as many as there is room for');
  const { pending } = await broker.stats('large');
  t.true(pending <= 5, `${pending} at once`);
  isOpen = true;
  await until(async () => recorder.messages.length === 12 && (await broker.stats('large')).pending === 0, 'all came');
  t.true(most <= 5, `${most} at once`);
});

test('while nothing can be acknowledged not everything is read', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await server.ask('acl', 'SETUSER', 'sidecar', 'on', '>secret', '~*', '+@all', '-xack');
  const login = { redisUsername: 'sidecar', redisPassword: 'secret' };
  const { broker } = await openSite(t, { redisHost: server.address, ...login });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  for (let from = 0; from < 14_000; from += 1000) await publish(broker, 'orders', ...texts(`m${from}`, 1000));
  await until(() => recorder.messages.length >= 10_000, 'as many were handled as may wait');
  await wait(500);
  t.true(recorder.messages.length < 11_000, `${recorder.messages.length} handled`);
  await server.ask('acl', 'SETUSER', 'sidecar', '+xack');
  await until(async () => recorder.messages.length === 14_000 && (await broker.stats('orders')).pending === 0, 'all');
});
