/** What a file holds that is settled must cost nothing. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { sqliteBroker } from '../../src/brokers/sqlite/broker.ts';
import type { Broker } from '../../src/core/broker.ts';
import { until } from '../_support/until.ts';
import { contextOf, publish, Recorder, subscribe, texts } from './bench.ts';

const SETTLED = 100_000;
const MEASURED = 2000;

/** Milliseconds until `count` messages, a hundred a call, are published and handled. */
async function time(broker: Broker, recorder: Recorder, count: number): Promise<number> {
  const began = performance.now();
  recorder.messages.length = 0;
  const list = texts('m', 100);
  for (let from = 0; from < count; from += list.length) await publish(broker, 'history', ...list);
  await until(() => recorder.messages.length === count, 'all arrived', 50_000);
  return performance.now() - began;
}

test('a hundred thousand settled messages do not slow down those that come', async (t) => {
  const home = mkdtempSync(join(tmpdir(), 'history-'));
  const broker = await sqliteBroker.open({ connectionString: join(home, 'p.db') }, contextOf('g', home));
  t.teardown(async () => {
    await broker.close();
    rmSync(home, { recursive: true, force: true });
  });
  const recorder = new Recorder();
  await subscribe(broker, 'history', recorder);
  await time(broker, recorder, MEASURED);
  const rounds = async (): Promise<number> => {
    const took = [];
    for (let round = 0; round < 3; round++) took.push(await time(broker, recorder, MEASURED));
    return Math.min(...took);
  };
  const empty = await rounds();
  await time(broker, recorder, SETTLED);
  const full = await rounds();
  t.true(full < 3 * empty, `${MEASURED} messages took ${empty} ms in an empty file and ${full} ms in a full one`);
});
