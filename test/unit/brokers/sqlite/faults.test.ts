import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { sqliteBroker } from '../../../../src/brokers/sqlite/broker.ts';
import { openDatabase } from '../../../../src/brokers/sqlite/schema.ts';
import type { Broker, Handler, OutboundMessage } from '../../../../src/core/broker.ts';
import type { Log } from '../../../../src/lib/log.ts';
import { until } from '../../../_support/until.ts';
import { temporary } from '../temporary.ts';

interface Opened {
  readonly broker: Broker;
  readonly path: string;
  readonly lines: string[];
}

const WHO = { name: 'pubsub', appId: 'a', consumerId: 'g', consumerIdGiven: false };

async function open(t: ExecutionContext, settings: Record<string, string> = {}): Promise<Opened> {
  const home = temporary(t);
  const path = join(home, 'p.db');
  const lines: string[] = [];
  const keep = (line: string): void => void lines.push(line);
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep, scoped: () => log };
  const context = { ...WHO, home, log, initSignal: new AbortController().signal };
  const broker = await sqliteBroker.open({ connectionString: path, ...settings }, context);
  t.teardown(() => broker.close());
  return { broker, path, lines };
}

const message = (content: string | Uint8Array = 'x'): OutboundMessage => ({
  data: Buffer.from(content),
  contentType: 'text/plain',
  metadata: {},
});

/** The database threads that are started from now on. */
function watchWorkers(t: ExecutionContext): Worker[] {
  const workers: Worker[] = [];
  const onWorker = (worker: Worker): void => void workers.push(worker);
  process.on('worker', onWorker);
  t.teardown(() => process.off('worker', onWorker));
  return workers;
}

/** Takes the write lock as another process would. */
function lock(t: ExecutionContext, path: string): () => void {
  const database = new DatabaseSync(path);
  database.exec('BEGIN IMMEDIATE');
  t.teardown(() => database.close());
  return () => database.exec('ROLLBACK');
}

test('a publish waits for the lock of another process', async (t) => {
  const { broker, path } = await open(t);
  const release = lock(t, path);
  const publishing = broker.publish('t', [message()]);
  setTimeout(release, 300);
  t.deepEqual(await publishing, []);
});

test('a lock that is not let go fails the publish with the reason, and all goes on when it is', async (t) => {
  const { broker, path, lines } = await open(t, { busyTimeout: '50ms' });
  const seen: string[] = [];
  await broker.subscribe('t', { metadata: {} }, async ({ data }) => {
    seen.push(data.toString());
    return { kind: 'success' };
  });
  const release = lock(t, path);
  const failures = await broker.publish('t', [message('lost'), message('lost')]);
  t.deepEqual(
    failures.map(({ index, error }) => [index, error.message]),
    [
      [0, 'database is locked'],
      [1, 'database is locked'],
    ],
  );
  await t.throwsAsync(broker.ping(), { message: 'database is locked' });
  await until(() => lines.some((line) => line.includes('fails, trying again: database is locked')), 'it is said');
  release();
  t.deepEqual(await broker.publish('t', [message('kept')]), []);
  await until(() => seen.length === 1, 'it arrived');
  t.deepEqual(seen, ['kept']);
  t.true(await until(() => lines.some((line) => line.includes('works again')), 'it is said'));
});

test('a subscription can be closed while the database is locked, and keeps nothing', async (t) => {
  const { broker, path } = await open(t, { busyTimeout: '50ms' });
  const seen: string[][] = [[], []];
  const handler =
    (list: string[] = []): Handler =>
    async ({ data }) => {
      list.push(data.toString());
      return { kind: 'success' };
    };
  const subscription = await broker.subscribe('t', { metadata: {} }, handler(seen[0]));
  const release = lock(t, path);
  await subscription.close(new AbortController().signal);
  release();
  t.deepEqual(await broker.publish('t', [message('a'), message('b')]), []);
  await broker.subscribe('t', { metadata: {} }, handler(seen[1]));
  await until(() => seen[1]?.length === 2, 'the next subscription got them');
  t.deepEqual(seen[0], []);
});

test('what waits for a database that hangs is bounded', async (t) => {
  const { broker, path } = await open(t);
  const release = lock(t, path);
  const data = Buffer.alloc(8 * 2 ** 20 - 1024);
  await Promise.race([broker.publish('t', [message(data)]), new Promise((resolve) => setTimeout(resolve, 50))]);
  const publishes = Array.from({ length: 12 }, () => broker.publish('t', [message(data)]));
  const [failure] = await Promise.race(publishes);
  t.is(failure?.error.message, 'too many messages wait to be stored');
  release();
  const results = await Promise.all(publishes);
  t.is(results.filter((failures) => failures.length === 0).length, 8);
});

test('messages without payload that wait for a database that hangs are bounded too', async (t) => {
  const { broker, path } = await open(t);
  const release = lock(t, path);
  const list = Array.from({ length: 10_000 }, () => message(''));
  const publishes = Array.from({ length: 20 }, () => broker.publish('t', list));
  const [failure] = await Promise.race(publishes);
  t.is(failure?.error.message, 'too many messages wait to be stored');
  release();
  await Promise.all(publishes);
});

test.serial('when the database thread dies, handlers are told, and everything goes on with another', async (t) => {
  const workers = watchWorkers(t);
  const { broker, lines } = await open(t);
  const attempts: number[] = [];
  const { promise: aborted, resolve: tell } = Promise.withResolvers<void>();
  await broker.subscribe('t', { metadata: {} }, async ({ attempt }, signal) => {
    attempts.push(attempt);
    if (attempt > 1) return { kind: 'success' };
    await once(signal, 'abort');
    tell();
    return { kind: 'drop' };
  });
  await broker.publish('t', [message()]);
  await until(() => attempts.length === 1, 'it is in hand');
  const ended = workers[0]?.terminate();
  const [failure] = await broker.publish('t', [message()]);
  t.true(failure === undefined || failure.error.message.startsWith('the database thread died'));
  await Promise.all([ended, aborted]);
  await until(() => attempts.includes(2), 'it came again');
  t.deepEqual(await broker.publish('t', [message()]), []);
  await until(async () => (await broker.stats('t')).pending === 1, 'the later ones are in hand');
  t.is(workers.length, 2);
  t.true(lines.some((line) => line.startsWith('the database thread died')));
});

test('opening that is given up ends although the database is locked, and leaves nothing behind', async (t) => {
  const { broker, path } = await open(t);
  await broker.close();
  const home = dirname(path);
  const release = lock(t, path);
  const log: Log = { debug() {}, info() {}, warn() {}, error() {}, scoped: () => log };
  const giveUp = new AbortController();
  const context = { ...WHO, home, log, initSignal: giveUp.signal };
  const opening = sqliteBroker.open({ connectionString: path, busyTimeout: '60s' }, context);
  setTimeout(() => giveUp.abort(), 500);
  const began = performance.now();
  await t.throwsAsync(opening, { message: /does not answer/ });
  t.true(performance.now() - began < 20_000, `took ${performance.now() - began} ms`);
  release();
  t.deepEqual(
    readdirSync(home).filter((file) => file.includes('owner')),
    [],
  );
});

test('a broker that cannot use its file says which and why', async (t) => {
  await t.throwsAsync(open(t, { connectionString: '/proc/nowhere/p.db' }), {
    message: /\/proc\/nowhere\/p\.db: ENOENT/,
  });
});

test('a damaged file is named', async (t) => {
  const path = join(temporary(t), 'p.db');
  openDatabase(path, 1000).close();
  const bytes = readFileSync(path);
  writeFileSync(path, bytes.fill(0xab, 8192)); // all but the page with the schema
  await t.throwsAsync(open(t, { connectionString: path }), {
    message: /^cannot use database .*p\.db: database disk image is malformed$/,
  });
});

test.serial('a subscription with as much in hand as it may have costs nothing', async (t) => {
  const workers = watchWorkers(t);
  const { broker } = await open(t);
  let seen = 0;
  const { promise: gate, resolve } = Promise.withResolvers<void>();
  await broker.subscribe('t', { metadata: {} }, async () => {
    seen++;
    await gate;
    return { kind: 'success' };
  });
  for (let index = 0; index < 6; index++) await broker.publish('t', [message(Buffer.alloc(4 * 2 ** 20))]);
  await until(() => seen === 4, '16 MiB are in hand');
  const began = workers[0]?.performance.eventLoopUtilization();
  const end = performance.now() + 1000;
  await until(() => performance.now() > end, 'a second was over');
  const { utilization } = workers[0]?.performance.eventLoopUtilization(began) as { utilization: number };
  t.true(utilization < 0.3, `the thread was busy for ${utilization} of a second`);
  resolve();
  await until(() => seen === 6, 'the rest came');
});

test('pruning that has much to do takes no more of the time the longer it lasts', async (t) => {
  const path = join(temporary(t), 'p.db');
  const database = openDatabase(path, 1000);
  database.exec('BEGIN');
  const insert = database.prepare(`INSERT INTO message (topic, published, content_type, metadata, data)
    VALUES (?, 0, '', '{}', '')`);
  // A step each: there is no more than a hundred of them in a second.
  for (let index = 0; index < 2000; index++) insert.run(`topic-${index}`);
  database.exec('COMMIT');
  t.teardown(() => database.close());
  const left = database.prepare('SELECT count(*) AS n FROM message');
  const count = (): number => left.get()?.['n'] as number;
  await open(t, { connectionString: path });
  await until(() => count() < 2000, 'it began');
  const began = performance.now();
  await until(() => performance.now() - began > 7000, 'it was to begin again meanwhile');
  const [before, from] = [count(), performance.now()];
  await until(() => performance.now() - from > 1500, 'a while was over');
  const rate = ((before - count()) * 1000) / (performance.now() - from);
  t.true(rate <= 105, `${rate} steps a second`);
});

test('a group that is removed under its subscription is there again, and delivery goes on', async (t) => {
  const { broker, path } = await open(t);
  const seen: string[] = [];
  await broker.subscribe('t', { metadata: {} }, async ({ data }) => {
    seen.push(data.toString());
    return { kind: 'success' };
  });
  const database = new DatabaseSync(path);
  database.exec('DELETE FROM waiter; DELETE FROM consumer_group');
  database.close();
  await until(async () => (await broker.publish('t', [message('x')])).length === 0, 'a publish succeeds');
  await until(() => seen.includes('x'), 'it arrived');
  t.pass();
});

test.serial('who subscribes while the database thread is started again gets every message', async (t) => {
  const workers = watchWorkers(t);
  const { broker } = await open(t);
  await workers[0]?.terminate();
  const seen: string[] = [];
  const subscribing = broker.subscribe('t', { metadata: {} }, async ({ data, attempt }) => {
    seen.push(`${data.toString()} ${attempt}`);
    return { kind: 'success' };
  });
  await subscribing;
  t.deepEqual(await broker.publish('t', [message('a'), message('b')]), []);
  await until(() => seen.length === 2, 'they arrived', 10_000);
  t.deepEqual(seen, ['a 1', 'b 1']);
});

test.serial('a database thread that dies as soon as it is there again is replaced by one, not by two', async (t) => {
  const workers = watchWorkers(t);
  const { broker } = await open(t);
  const seen: string[] = [];
  await broker.subscribe('t', { metadata: {} }, async ({ data }) => {
    seen.push(data.toString());
    return { kind: 'success' };
  });
  process.once('worker', (second: Worker) => second.once('message', () => void second.terminate()));
  await workers[0]?.terminate();
  await until(() => workers.length >= 3, 'the third was started');
  await until(async () => (await broker.publish('t', [message('x')])).length === 0, 'a publish succeeds');
  await until(() => seen.includes('x'), 'it arrived', 10_000);
  const end = performance.now() + 1000;
  await until(() => performance.now() > end, 'a fourth would have come');
  t.is(workers.length, 3);
});

test.serial('opening that is given up as the database answers starts nothing again', async (t) => {
  const workers = watchWorkers(t);
  const home = temporary(t);
  const lines: string[] = [];
  const keep = (line: string): void => void lines.push(line);
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep, scoped: () => log };
  const giveUp = new AbortController();
  process.once('worker', (worker: Worker) => worker.prependListener('message', () => giveUp.abort()));
  const opening = sqliteBroker.open(
    { connectionString: join(home, 'p.db') },
    { ...WHO, home, log, initSignal: giveUp.signal },
  );
  await t.throwsAsync(opening, { message: /does not answer/ });
  await until(() => workers[0]?.threadId === -1, 'the thread ended');
  const end = performance.now() + 500;
  await until(() => performance.now() > end, 'another would have come');
  t.deepEqual([workers.length, lines], [1, []]);
});
