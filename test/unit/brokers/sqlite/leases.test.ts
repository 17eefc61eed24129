import { existsSync, readdirSync, watch } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Leases } from '../../../../src/brokers/sqlite/leases.ts';
import { openDatabase } from '../../../../src/brokers/sqlite/schema.ts';
import { until } from '../../../_support/until.ts';
import { temporary } from '../temporary.ts';

function place(t: ExecutionContext): { home: string; join: (timeoutMs?: number) => Leases } {
  const home = temporary(t);
  const path = join(home, 'p.db');
  return {
    home,
    join: (timeoutMs = 60_000) => {
      const leases = new Leases(openDatabase(path, 1000), path, timeoutMs);
      leases.register();
      return leases;
    },
  };
}

test('an owner that lives is not gone, one that ended is, at once', (t) => {
  const { join } = place(t);
  const [first, second] = [join(), join()];
  t.deepEqual(first.gone(), []);
  t.deepEqual(second.gone(), []);
  second.close();
  t.deepEqual(first.gone(), [second.owner]);
  first.close();
});

test('an owner that does not beat for the processing timeout is gone although it lives', async (t) => {
  const { join } = place(t);
  const [first, second] = [join(100), join(100)];
  t.deepEqual(first.gone(), []);
  const end = performance.now() + 300;
  await until(() => {
    first.beat();
    second.beat();
    t.deepEqual(first.gone(), []);
    return performance.now() > end;
  }, 'it had beaten for a while');
  await until(() => {
    first.beat();
    return first.gone().includes(second.owner);
  }, 'its silence was noticed');
  first.close();
  second.close();
});

test('who could not beat itself, or was away between two beats, buries nobody', async (t) => {
  const { join } = place(t);
  const [first, second] = [join(100), join(100)];
  const silence = async (): Promise<unknown> => {
    const end = performance.now() + 250;
    return until(() => performance.now() > end, 'the processing timeout was over');
  };
  t.deepEqual(first.gone(), []);
  await silence();
  t.deepEqual(first.gone(), [], 'it did not beat');
  first.beat();
  t.deepEqual(first.gone(), [], 'it was away');
  second.beat();
  t.deepEqual(first.gone(), []);
  for (let count = 0; count < 3; count++) {
    await silence();
    first.beat();
    t.deepEqual(first.gone(), [], `a beat counts for a third of the timeout, however late: ${count}`);
  }
  await silence();
  first.beat();
  t.deepEqual(first.gone(), [second.owner]);
  first.close();
  second.close();
});

test('a processing timeout of 0 lets the silent keep what they have', async (t) => {
  const { join } = place(t);
  const [first, second] = [join(0), join(0)];
  const end = performance.now() + 200;
  await until(() => {
    t.deepEqual(first.gone(), []);
    return performance.now() > end;
  }, 'a while was over');
  first.close();
  second.close();
});

test('who was buried is no owner any more and can become one again', (t) => {
  const { join, home } = place(t);
  const [first, second] = [join(), join()];
  const before = second.owner;
  first.bury(before);
  t.false(second.held);
  t.deepEqual(first.gone(), []);
  second.register();
  t.true(second.held);
  t.not(second.owner, before);
  t.deepEqual(first.gone(), []);
  t.true(first.eldest);
  t.false(second.eldest);
  first.bury(second.owner);
  first.bury(first.owner);
  second.close();
  first.close();
  t.deepEqual(
    readdirSync(home).filter((name) => name.includes('owner')),
    [],
  );
});

test('an owner whose file is missing is gone, and looking for it makes none', (t) => {
  const { join, home } = place(t);
  const leases = join();
  const database = openDatabase(`${home}/p.db`, 1000);
  database.exec('INSERT INTO owner (id) VALUES (77)');
  t.deepEqual(leases.gone(), [77]);
  t.false(existsSync(`${home}/p.db-owner-77`));
  database.close();
  leases.close();
});

test('a bell is heard by its owner alone, and one without owner does nothing', async (t) => {
  const { join } = place(t);
  const [first, second] = [join(), join()];
  const rung = [0, 0];
  const watchers = [first, second].map(({ bell }, index) =>
    watch(bell, () => void (rung[index] = (rung[index] ?? 0) + 1)),
  );
  await until(() => {
    first.ring(second.owner);
    return rung[1];
  }, 'it rang');
  t.is(rung[0], 0);
  t.notThrows(() => first.ring(12345));
  for (const watcher of watchers) watcher.close();
  first.close();
  second.close();
});
