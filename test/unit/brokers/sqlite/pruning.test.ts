import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import test, { type ExecutionContext } from 'ava';
import { RELEASED, SETTLED } from '../../../../src/brokers/sqlite/protocol.ts';
import { Pruning } from '../../../../src/brokers/sqlite/pruning.ts';
import { openDatabase, pragma } from '../../../../src/brokers/sqlite/schema.ts';
import { Store } from '../../../../src/brokers/sqlite/store.ts';
import { temporary } from '../temporary.ts';

const OWNER = 1;
const MEMBER = 1;

class Fixture {
  readonly database: DatabaseSync;
  readonly store: Store;

  constructor(t: ExecutionContext) {
    this.database = openDatabase(join(temporary(t), 'p.db'), 1000);
    this.store = new Store(this.database);
    // Nothing here asks for durability.
    this.database.exec('PRAGMA synchronous = OFF');
    t.teardown(() => this.database.close());
  }

  publish(topic: string, count: number, now: number, size = 10): void {
    this.database.exec('BEGIN');
    const bytes = Buffer.alloc(count * size);
    this.store.publish(
      Array.from({ length: count }, () => [topic, '', '{}', size] as const).map((one) => [...one]),
      bytes,
      now,
    );
    this.database.exec('COMMIT');
  }

  /** Claims everything for the group and settles all but the first `kept`. */
  handle(topic: string, name: string, kept = 0): void {
    this.database.exec('BEGIN');
    const group = this.store.openGroup(topic, name);
    const claimed = this.store.claim(group, topic, OWNER, { messages: 1e6, bytes: 1e9 }, 0);
    claimed.forEach(({ id }, index) =>
      this.store.settle([MEMBER, group, OWNER, id, index < kept ? Infinity : SETTLED, 0], 0),
    );
    this.database.exec('COMMIT');
  }

  prune(now: number, limits = { retentionMs: 100, maxHistoryBytes: 2 ** 30 }): void {
    const pruning = new Pruning(this.database, limits);
    while (pruning.step(now));
  }

  count(topic: string): number {
    return this.database.prepare('SELECT count(*) AS n FROM message WHERE topic = ?').get(topic)?.['n'] as number;
  }
}

test('a settled message goes when its retention is over, not before', (t) => {
  const fixture = new Fixture(t);
  fixture.publish('t', 500, 1000);
  fixture.publish('t', 5, 1050);
  fixture.handle('t', 'g');
  fixture.prune(1100);
  t.is(fixture.count('t'), 505);
  fixture.prune(1101);
  t.is(fixture.count('t'), 5);
  fixture.prune(1151);
  t.is(fixture.count('t'), 0);
});

test('what a group has not settled stays, parked or never delivered, whatever others did with it', (t) => {
  const fixture = new Fixture(t);
  fixture.publish('t', 450, 0);
  fixture.handle('t', 'fast');
  fixture.handle('t', 'parks', 3);
  fixture.prune(10_000);
  t.is(fixture.count('t'), 3);
  fixture.publish('t', 10, 0);
  fixture.handle('t', 'fast');
  fixture.prune(10_000);
  t.is(fixture.count('t'), 13);
});

test('what no group asked for stays for the retention, also in a file that is too large', (t) => {
  const fixture = new Fixture(t);
  fixture.publish('unheard', 10, 1000, 5000);
  fixture.prune(1050, { retentionMs: 100, maxHistoryBytes: 1 });
  t.is(fixture.count('unheard'), 10);
  fixture.prune(2000, { retentionMs: 100, maxHistoryBytes: 1 });
  t.is(fixture.count('unheard'), 0);
});

test('in a file that is too large settled messages go before their time, of all topics', (t) => {
  const fixture = new Fixture(t);
  for (const topic of ['a', 'b']) {
    fixture.publish(topic, 1000, 1000, 1000);
    fixture.handle(topic, 'g', 1);
  }
  const limits = { retentionMs: 1e9, maxHistoryBytes: 2 ** 20 };
  fixture.prune(1000, limits);
  const [left, right] = [fixture.count('a'), fixture.count('b')];
  t.true(left > 1 && left < 800 && right > 1 && right < 800, `${left} and ${right} are left`);
  fixture.prune(1000, { ...limits, maxHistoryBytes: 1 });
  t.deepEqual([fixture.count('a'), fixture.count('b')], [1, 1]);
});

test('freed pages are used again or given back, so the file does not grow for ever', (t) => {
  const fixture = new Fixture(t);
  const pages = (): number => pragma(fixture.database, 'page_count');
  for (let round = 0; round < 5; round++) {
    fixture.publish('t', 400, 0, 2000);
    fixture.handle('t', 'g');
    fixture.prune(1000);
  }
  t.true(pages() < 300, `${pages()} pages of 8 KiB for 100 messages of 2 kB at once`);
  fixture.publish('t', 50, 0, 2 ** 20);
  const most = pages();
  fixture.handle('t', 'g');
  fixture.prune(1000);
  t.true(pages() < most * 0.7 && pages() <= 4096 + 300, `${pages()} of ${most} pages are left`);
});

test('a message that was released and pruning meet without loss', (t) => {
  const fixture = new Fixture(t);
  fixture.publish('t', 3, 0);
  fixture.database.exec('BEGIN');
  const group = fixture.store.openGroup('t', 'g');
  const claimed = fixture.store.claim(group, 't', OWNER, { messages: 3, bytes: 1000 }, 0);
  claimed.forEach(({ id }) => fixture.store.settle([MEMBER, group, OWNER, id, RELEASED, 0], 0));
  fixture.database.exec('COMMIT');
  fixture.prune(10_000);
  t.is(fixture.store.claim(group, 't', OWNER, { messages: 3, bytes: 1000 }, 0).length, 3);
});

test('a message from a clock that was ahead goes its retention after that was set right, and holds up no other', (t) => {
  const fixture = new Fixture(t);
  fixture.publish('t', 450, 1e9);
  fixture.publish('t', 5, 1000);
  fixture.handle('t', 'g');
  fixture.prune(1010);
  t.is(fixture.count('t'), 455);
  fixture.prune(1110);
  t.is(fixture.count('t'), 455);
  fixture.prune(1111);
  t.is(fixture.count('t'), 0);
});
