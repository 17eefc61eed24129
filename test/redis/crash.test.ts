/** Processes that are killed and stopped, and who takes over what they had. */

import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { Broker } from '../../src/core/broker.ts';
import { publish, Recorder, retry, subscribe, SUCCESS, textOf, texts } from '../conformance/bench.ts';
import { crashes } from '../conformance/crashes.ts';
import { BrokerProcess } from '../conformance/processes.ts';
import { RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

type Settings = Readonly<Record<string, string>>;

async function startProcess(t: ExecutionContext, settings: Settings, consumerId = 'team'): Promise<BrokerProcess> {
  const started = await BrokerProcess.start({ type: 'pubsub.redis', settings, consumerId, home: '' });
  t.teardown(() => started.kill());
  return started;
}

/** The consumers of group `team` on `orders`. */
const namesOn = async (server: RedisServer): Promise<string[]> =>
  ((await server.ask('xinfo', 'CONSUMERS', 'orders', 'team')) as string[][]).map(([, name = '']) => name);

/** Adds names of `count` processes of this machine that have ended, beside the one consumer there is. */
async function addGone(server: RedisServer, count: number): Promise<void> {
  const own = await until(async () => (await namesOn(server))[0], 'there is one');
  const [, pid, , place] = own.split(':');
  const add =
    "for i = 1, ARGV[1] do redis.call('XGROUP', 'CREATECONSUMER', KEYS[1], 'team', ARGV[2] .. i .. ARGV[3]) end";
  await server.ask('eval', add, 1, 'orders', count, `team@gone:${pid}:`, `:${place}:1`);
}

crashes((title, body, settings = {}) => {
  test(title, async (t) => {
    const { address } = await RedisServer.start(t.teardown);
    const all = { redisHost: address, ...settings };
    const open = async (consumerId: string): Promise<Broker> => (await openSite(t, all, consumerId)).broker;
    await body(t, { open, start: (consumerId) => startProcess(t, all, consumerId) });
  });
});

test('the names of processes that were killed go from the group when what they had is handled', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address };
  const { broker } = await openSite(t, settings);
  const victim = await startProcess(t, settings);
  await victim.subscribe('orders', { hold: true });
  await publish(broker, 'orders', ...texts('m', 5));
  await victim.until('delivered', 5);
  await victim.kill();
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await until(
    async () => recorder.messages.length === 5 && (await broker.stats('orders')).pending === 0,
    'they are handled',
  );
  await until(async () => (await namesOn(server)).length === 1, 'the dead consumer is removed');
  t.pass();
});

test('ten thousand names of processes that ended go without holding up the server', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  await subscribe(broker, 'orders', new Recorder());
  await publish(broker, 'orders', 'x');
  await addGone(server, 10_000);
  await server.ask('config', 'SET', 'slowlog-log-slower-than', 1_000_000);
  await server.ask('slowlog', 'RESET');
  await until(async () => (await namesOn(server)).length === 1, 'they are gone', 60_000);
  t.deepEqual(await server.ask('slowlog', 'GET'), []);
});

test('without the right to remove names they stay, which is said once', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await server.ask('acl', 'SETUSER', 'sidecar', 'on', '>secret', '~*', '+@all', '-eval');
  const login = { redisUsername: 'sidecar', redisPassword: 'secret' };
  const settings = { redisHost: server.address, ...login, redeliverInterval: '50ms' };
  const { broker, lines } = await openSite(t, settings);
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'x');
  await addGone(server, 2);
  const said = (): string[] => lines.filter((line) => line.startsWith('warn names of sidecars'));
  await until(() => said().length > 0, 'it is said');
  await publish(broker, 'orders', 'y');
  await until(() => recorder.texts.includes('y'), 'it works');
  await wait(500);
  t.regex(said().join('\n'), /^warn names of sidecars that have ended stay .* topic orders: NOPERM .*$/);
  const [refused] =
    /(?<=cmdstat_eval:.*rejected_calls=)\d+/.exec(String(await server.ask('info', 'commandstats'))) ?? [];
  t.is(refused, '1');
  t.is((await namesOn(server)).length, 3);
});

test('what a consumer of another machine has is taken when the processing timeout is over, all of it and not before', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '4s' };
  const { broker } = await openSite(t, settings);
  const client = server.client();
  await client.xgroup('CREATE', 'orders', 'team', '0', 'MKSTREAM');
  await publish(broker, 'orders', ...texts('m', 250));
  const elsewhere = 'team@elsewhere:1:2:00112233aabb:1';
  const began = performance.now();
  await client.xreadgroup('GROUP', 'team', elsewhere, 'COUNT', 250, 'STREAMS', 'orders', '>');
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'new');
  await until(() => recorder.texts.includes('new'), 'what is new arrives meanwhile');
  t.is(recorder.messages.length, 1);
  await until(() => recorder.messages.length === 251, 'all were taken over');
  const took = performance.now() - began;
  t.true(took > 3999 && took < 20_000, `took ${took} ms`);
  t.deepEqual(recorder.texts.slice(1).toSorted(), texts('m', 250).toSorted());
});

test('a handler that takes many times the processing timeout keeps its message, however often others look', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '1500ms', redeliverInterval: '100ms' };
  const [{ broker }, sibling] = await Promise.all([openSite(t, settings), openSite(t, settings)]);
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const attempts: number[] = [];
  const slow = new Recorder(async ({ attempt }) => {
    attempts.push(attempt);
    if (attempt > 1) return SUCCESS;
    await gate;
    return retry(1000);
  });
  await subscribe(broker, 'orders', slow);
  await publish(broker, 'orders', 'x');
  await until(() => attempts.length === 1, 'it is in hand');
  const other = new Recorder();
  await subscribe(sibling.broker, 'orders', other);
  await wait(8000);
  open();
  await until(async () => attempts.length === 2 && (await broker.stats('orders')).pending === 0, 'it is settled');
  t.deepEqual(attempts, [1, 2]);
  t.is(other.messages.length, 0);
});

test('an interval of keep-alives that is too long for the processing timeout costs no message its handler', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '6s', entryKeepAliveInterval: '20s' };
  const [{ broker, lines }, sibling] = await Promise.all([openSite(t, settings), openSite(t, settings)]);
  const slow = new Recorder(() => wait(14_000, SUCCESS));
  const other = new Recorder();
  await subscribe(broker, 'orders', slow);
  await publish(broker, 'orders', ...texts('m', 5));
  await until(() => slow.messages.length === 5, 'they are in hand');
  await subscribe(sibling.broker, 'orders', other);
  await until(async () => (await broker.stats('orders')).pending === 0, 'they are settled');
  t.is(slow.messages.length + other.messages.length, 5);
  t.is(
    lines[0],
    'warn entryKeepAliveInterval is taken as 3s, half of processingTimeout: with 20s others take over what is in hand',
  );
});

test('an entry that is ours and not in hand is found though the server has forgotten another that is', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, readTimeout: '1s', entryKeepAliveInterval: '300ms' };
  const { broker } = await openSite(t, settings);
  await publish(broker, 'orders', 'stray');
  await server.ask('xgroup', 'CREATE', 'orders', 'team', '0');
  await server.ask('xreadgroup', 'GROUP', 'team', 'other', 'STREAMS', 'orders', '>');
  const recorder = new Recorder((message) => (textOf(message) === 'stray' ? SUCCESS : new Promise(() => undefined)));
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'hanging');
  await until(() => recorder.messages.length === 1, 'a handler hangs');
  const pending = (await server.ask('xpending', 'orders', 'team', '-', '+', 10)) as [id: string, owner: string][];
  const [stray = '', hanging = ''] = pending.map(([id]) => id);
  await server.ask('xack', 'orders', 'team', hanging);
  await server.ask('xclaim', 'orders', 'team', pending[1]?.[1] ?? '', 0, stray, 'JUSTID');
  await until(() => recorder.texts.includes('stray'), 'it was found');
  t.is(recorder.messages.length, 2);
});
