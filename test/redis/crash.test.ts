/** Processes that are killed and stopped, and who takes over what they had. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { publish, Recorder, retry, subscribe, SUCCESS, texts } from '../conformance/bench.ts';
import { BrokerProcess } from '../conformance/processes.ts';
import { temporaryDirectory } from '../_support/daprd.ts';
import { DURABLE, RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

type Settings = Readonly<Record<string, string>>;

async function startProcess(t: ExecutionContext, settings: Settings, consumerId = 'team'): Promise<BrokerProcess> {
  const started = await BrokerProcess.start({ type: 'pubsub.redis', settings, consumerId, home: '' });
  t.teardown(() => started.kill());
  return started;
}

test('a process that starts again gets at once what it had in hand when it was killed, as the next attempt', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address };
  const { broker } = await openSite(t, settings, 'publisher');
  const first = await startProcess(t, settings);
  await first.subscribe('orders', { hold: true });
  await publish(broker, 'orders', ...texts('m', 5));
  await first.until('delivered', 5);
  await first.kill();
  const second = await startProcess(t, settings);
  const began = performance.now();
  await second.subscribe('orders', { hold: false });
  await second.until('delivered', 5);
  t.true(performance.now() - began < 1500, `took ${performance.now() - began} ms`);
  t.deepEqual(second.texts('delivered'), texts('m', 5));
  t.true(second.news.every((news) => news.event !== 'delivered' || news.attempt === 2));
  await until(
    async () => ((await server.ask('xinfo', 'CONSUMERS', 'orders', 'team')) as unknown[]).length === 1,
    'the dead consumer is removed',
  );
});

test('what a process of this machine had when it was killed its sibling takes within seconds', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address };
  const { broker } = await openSite(t, settings);
  const victim = await startProcess(t, settings);
  await victim.subscribe('orders', { hold: true });
  await publish(broker, 'orders', ...texts('m', 5));
  await victim.until('delivered', 5);
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await victim.kill();
  await until(() => recorder.messages.length === 5, 'the sibling handles them', 4000);
  t.true(recorder.messages.every(({ attempt }) => attempt === 2));
});

test('what a consumer of another machine has is taken when the processing timeout is over, all of it and not before', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '1500ms' };
  const { broker } = await openSite(t, settings);
  const client = server.client();
  await client.xgroup('CREATE', 'orders', 'team', '0', 'MKSTREAM');
  await publish(broker, 'orders', ...texts('m', 250));
  const elsewhere = 'team@elsewhere:1:2:00112233aabb:1';
  await client.xreadgroup('GROUP', 'team', elsewhere, 'COUNT', 250, 'STREAMS', 'orders', '>');
  const began = performance.now();
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'new');
  await until(() => recorder.texts.includes('new'), 'what is new arrives meanwhile');
  t.is(recorder.messages.length, 1);
  await until(() => recorder.messages.length === 251, 'all were taken over');
  const took = performance.now() - began;
  t.true(took >= 1400 && took < 6500, `took ${took} ms`);
  t.deepEqual(recorder.texts.slice(1).toSorted(), texts('m', 250).toSorted());
});

test('a process that hangs loses its messages, and is told so when it goes on', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '1s' };
  const { broker } = await openSite(t, settings);
  const hanging = await startProcess(t, settings);
  await hanging.subscribe('orders', { hold: true });
  await publish(broker, 'orders', 'x');
  await hanging.until('delivered');
  hanging.signal('SIGSTOP');
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const recorder = new Recorder(() => gate.then(() => retry(Infinity)));
  await subscribe(broker, 'orders', recorder);
  await until(() => recorder.messages.length === 1, 'the sibling has it');
  hanging.signal('SIGCONT');
  await hanging.until('aborted');
  t.deepEqual(hanging.texts('aborted'), ['x']);
  open();
  await until(async () => (await broker.stats('orders')).parked === 1, 'the outcome of the sibling counts');
});

test('a handler that takes many times the processing timeout keeps its message, however often others look', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, processingTimeout: '600ms', redeliverInterval: '100ms' };
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
  await wait(3000);
  open();
  await until(async () => attempts.length === 2 && (await broker.stats('orders')).pending === 0, 'it is settled');
  t.deepEqual(attempts, [1, 2]);
  t.is(other.messages.length, 0);
});

/** How many lines a file has, and which. */
const linesOf = (directory: string, name: string): string[] => {
  const path = join(directory, name);
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
};

test('twenty kills of a sidecar and five of the server under load lose nothing acknowledged', async (t) => {
  t.timeout(120_000);
  const server = await RedisServer.start(t.teardown, DURABLE);
  const settings = { redisHost: server.address, readTimeout: '2s' };
  const directory = await temporaryDirectory(t);
  const script = join(import.meta.dirname, '_audited-process.ts');
  for (let round = 0; round < 20; round++) {
    const audited = { settings, topic: 'storm', directory, prefix: `r${round}`, perSecond: 1000 };
    const child = fork(script, [JSON.stringify(audited)]);
    const exited = once(child, 'exit');
    t.teardown(() => void child.kill('SIGKILL'));
    const before = linesOf(directory, 'acknowledged').length;
    const publishes = (count: number): Promise<unknown> =>
      until(() => linesOf(directory, 'acknowledged').length >= before + count, 'it publishes', 20_000);
    await publishes(100 + Math.random() * 300);
    if (round % 4 === 3) {
      await server.kill();
      await wait(50);
      await server.start();
      await publishes(linesOf(directory, 'acknowledged').length - before + 100);
    }
    child.kill('SIGKILL');
    await exited;
  }
  const { broker } = await openSite(t, settings);
  const recorder = new Recorder();
  await subscribe(broker, 'storm', recorder);
  await until(async () => {
    const { lag, pending } = await broker.stats('storm');
    return lag + pending === 0;
  }, 'everything is settled', 20_000); // prettier-ignore
  const acknowledged = linesOf(directory, 'acknowledged');
  const tried = new Set(linesOf(directory, 'tried'));
  const handled = [...linesOf(directory, 'handled'), ...recorder.texts];
  const unique = new Set(handled);
  t.deepEqual(acknowledged.filter((content) => !unique.has(content)), []); // prettier-ignore
  t.true(unique.isSubsetOf(tried));
  t.true(acknowledged.length > 20 * 100);
  t.log(`${acknowledged.length} acknowledged, ${handled.length - unique.size} of ${handled.length} handled twice`);
});
