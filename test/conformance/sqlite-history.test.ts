/** What a file holds that is settled must cost nothing. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sqliteBroker } from '../../src/brokers/sqlite/broker.ts';
import { until } from '../_support/until.ts';
import { contextOf, publish, Recorder, subscribe, texts } from './bench.ts';

const SETTLED = 100_000;
const MEASURED = 1000;
const ROUNDS = 6;

/** Tells the milliseconds until `count` messages, a hundred a call, are published to a file of its own and handled. */
async function timer(t: ExecutionContext): Promise<(count: number) => Promise<number>> {
  const home = mkdtempSync(join(tmpdir(), 'history-'));
  const broker = await sqliteBroker.open({ connectionString: join(home, 'p.db') }, contextOf('g', home));
  t.teardown(async () => {
    await broker.close();
    rmSync(home, { recursive: true, force: true });
  });
  const recorder = new Recorder();
  await subscribe(broker, 'history', recorder);
  const list = texts('m', 100);
  return async (count) => {
    const began = performance.now();
    recorder.messages.length = 0;
    for (let from = 0; from < count; from += list.length) await publish(broker, 'history', ...list);
    await until(() => recorder.messages.length === count, 'all arrived', 200_000);
    return performance.now() - began;
  };
}

test('a hundred thousand settled messages do not slow down those that come', async (t) => {
  t.timeout(300_000);
  const [empty, full] = [await timer(t), await timer(t)];
  await Promise.all([empty(MEASURED), full(SETTLED)]);
  // In turns, so that what else the machine does slows down both, and the best of each.
  const [inEmpty, inFull]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    inEmpty.push(await empty(MEASURED));
    inFull.push(await full(MEASURED));
  }
  const [without, withThem] = [Math.min(...inEmpty), Math.min(...inFull)];
  t.true(
    withThem < 3 * without,
    `${MEASURED} messages took ${without} ms in an empty file, ${withThem} ms in a full one`,
  );
});
