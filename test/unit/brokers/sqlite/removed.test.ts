/** Files that are removed while they are in use. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sqliteBroker } from '../../../../src/brokers/sqlite/broker.ts';
import { text } from '../../../conformance/bench.ts';
import { opener, type Site } from '../../../_support/broker-site.ts';
import { until } from '../../../_support/until.ts';
import { temporary } from '../temporary.ts';

const openAt = opener(sqliteBroker);

async function open(t: ExecutionContext): Promise<Site & { path: string }> {
  const path = join(temporary(t), 'p.db');
  return { path, ...(await openAt(t, { connectionString: path })) };
}

test('a database that is taken away is noticed and made anew', async (t) => {
  const { broker, path, lines } = await open(t);
  const seen: string[] = [];
  await broker.subscribe('t', { metadata: {} }, async ({ data }) => {
    seen.push(data.toString());
    return { kind: 'success' };
  });
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix);
  await until(() => lines.some((line) => line.includes('was removed or replaced')), 'it was noticed');
  await until(async () => (await broker.publish('t', [text('anew')])).length === 0, 'a publish succeeds');
  await until(() => seen.includes('anew'), 'the subscription is there again');
  t.pass();
});

for (const [what, suffixes] of [
  ['the database', ['']],
  ['the database with its companions', ['', '-wal', '-shm']],
  ['the write-ahead log', ['-wal']],
  ['the index of the log', ['-shm']],
] as const) {
  test(`after ${what} was removed no publish succeeds that would not arrive`, async (t) => {
    const { broker, path, lines } = await open(t);
    const seen = new Set<string>();
    const acknowledged: string[] = [];
    for (const suffix of suffixes) rmSync(path + suffix);
    const [failure] = await broker.publish('t', [text('at once')]);
    t.is(failure?.error.message, `the database thread died: ${path} was removed or replaced`);
    for (let index = 0; acknowledged.length < 3; index++) {
      const failures = await broker.publish('t', [text(`later ${index}`)]);
      if (failures.length === 0) acknowledged.push(`later ${index}`);
    }
    await broker.subscribe('t', { metadata: {} }, async ({ data }) => {
      seen.add(data.toString());
      return { kind: 'success' };
    });
    await until(() => acknowledged.every((content) => seen.has(content)), 'what was acknowledged arrived');
    t.is(lines.filter((line) => line.endsWith('starting it again')).length, 1);
  });
}

test('what was acknowledged before its log was removed arrives', async (t) => {
  const { broker, path, lines } = await open(t);
  const seen: string[] = [];
  t.deepEqual(await broker.publish('t', [text('before')]), []);
  rmSync(`${path}-wal`);
  await until(() => lines.some((line) => line.includes('was removed or replaced')), 'it was noticed');
  await until(
    () =>
      broker.ping().then(
        () => true,
        () => false,
      ),
    'it goes on',
  );
  await broker.subscribe('t', { metadata: {} }, async ({ data }) => {
    seen.push(data.toString());
    return { kind: 'success' };
  });
  await until(() => seen.includes('before'), 'it arrived');
  t.pass();
});

test('what a handler says of a message does not count for its namesake in a file that was made anew', async (t) => {
  const { broker, path, lines } = await open(t);
  const attempts: string[] = [];
  const { promise: gate, resolve } = Promise.withResolvers<void>();
  await broker.subscribe('t', { metadata: {} }, async ({ data }) => {
    const content = data.toString();
    attempts.push(content);
    if (content === 'new') return { kind: 'retry', afterMs: Infinity };
    await gate;
    return { kind: 'success' };
  });
  await broker.publish('t', [text('old')]);
  await until(() => attempts.includes('old'), 'it is in hand');
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix);
  await until(() => lines.some((line) => line.includes('was removed or replaced')), 'it was noticed');
  await until(async () => (await broker.publish('t', [text('new')])).length === 0, 'a publish succeeds');
  await until(async () => (await broker.stats('t')).parked === 1, 'it is parked');
  resolve();
  await broker.ping();
  await broker.ping();
  t.like(await broker.stats('t'), { pending: 1, parked: 1 });
});
