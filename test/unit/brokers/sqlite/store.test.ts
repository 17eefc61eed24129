import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { RELEASED, SETTLED, type Publication } from '../../../../src/brokers/sqlite/protocol.ts';
import { openDatabase } from '../../../../src/brokers/sqlite/schema.ts';
import { Store, type Claimed } from '../../../../src/brokers/sqlite/store.ts';
import { temporary } from '../temporary.ts';

const ALL = { messages: 1000, bytes: 1e9 };

function storeWith(t: ExecutionContext, count: number, size = 10): { store: Store; group: number } {
  const database = openDatabase(join(temporary(t), 'p.db'), 1000);
  t.teardown(() => database.close());
  const store = new Store(database);
  const publications = Array.from({ length: count }, (): Publication => ['t', 'text/plain', '{}', size]);
  store.publish(publications, Buffer.alloc(count * size), 1000);
  return { store, group: store.openGroup('t', 'g') };
}

const ids = (claimed: readonly Claimed[]): number[] => claimed.map(({ id }) => id);

test('an outcome that comes after the lease is over changes nothing', (t) => {
  const { store, group } = storeWith(t, 1);
  const [first] = store.claim(group, 't', 1, ALL, 0);
  const id = first?.id as number;
  store.settle([1, group, 1, id, RELEASED, 0], 0);
  t.is(store.claim(group, 't', 2, ALL, 0)[0]?.attempt, 2);
  for (const verdict of [SETTLED, RELEASED, Infinity, 0]) store.settle([1, group, 1, id, verdict, 0, true], 0);
  t.like(store.stats('t', 'g', 0), { pending: 1, parked: 0 });
  t.deepEqual(store.claim(group, 't', 3, ALL, 1e9), []);
  store.settle([1, group, 2, id, SETTLED, 0], 0);
  t.is(store.stats('t', 'g', 0).pending, 0);
});

test('a delivery that was no attempt is not counted', (t) => {
  const { store, group } = storeWith(t, 1);
  const [first] = store.claim(group, 't', 1, ALL, 0);
  for (const verdict of [RELEASED, 0, 0]) {
    store.settle([1, group, 1, first?.id as number, verdict, 0, true], 0);
    t.is(store.claim(group, 't', 1, ALL, 0)[0]?.attempt, 1);
  }
});

test('what is due again comes before what is new', (t) => {
  const { store, group } = storeWith(t, 4);
  const [first, second] = store.claim(group, 't', 1, { messages: 2, bytes: 1e9 }, 0) as [Claimed, Claimed];
  store.settle([1, group, 1, first.id, 500, 0], 0);
  store.settle([1, group, 1, second.id, 100, 0], 0);
  t.is(store.nextDue(group, false, 0), 100);
  t.deepEqual(ids(store.claim(group, 't', 1, { messages: 2, bytes: 1e9 }, 100)), [second.id, 3]);
  t.is(store.nextDue(group, false, 100), 500);
  t.deepEqual(ids(store.claim(group, 't', 1, ALL, 500)), [first.id, 4]);
});

test('a claim stops after the message that fills the bytes', (t) => {
  const { store, group } = storeWith(t, 5, 100);
  t.deepEqual(ids(store.claim(group, 't', 1, { messages: 10, bytes: 150 }, 0)), [1, 2]);
  t.deepEqual(ids(store.claim(group, 't', 1, { messages: 10, bytes: 1 }, 0)), [3]);
});

test('in order, one that waits holds those behind it until its time', (t) => {
  const { store, group } = storeWith(t, 3);
  const [first] = store.claimInOrder(group, 't', 1, 0);
  store.settle([1, group, 1, first?.id as number, 50, 0], 0);
  t.deepEqual(store.claimInOrder(group, 't', 1, 49), []);
  t.is(store.nextDue(group, true, 49), 50);
  t.like(store.claimInOrder(group, 't', 1, 50)[0], { id: 1, attempt: 2 });
  store.settle([1, group, 1, 1, Infinity, 0], 0);
  t.deepEqual(ids(store.claimInOrder(group, 't', 1, 50)), [2]);
});

test('a topic without group has lag and an age', (t) => {
  const { store } = storeWith(t, 3);
  t.deepEqual(store.stats('t', 'nobody', 1500), { lag: 3, pending: 0, parked: 0, oldestUnsettledMs: 500 });
  t.deepEqual(store.stats('unknown', 'g', 1500), { lag: 0, pending: 0, parked: 0, oldestUnsettledMs: 0 });
});

test('after the clock was set back nothing waits longer than it was told to', (t) => {
  const { store, group } = storeWith(t, 4);
  const [short, long, parked, held] = store.claim(group, 't', 1, ALL, 1e9).map(({ id }) => id) as [
    number,
    number,
    number,
    number,
  ];
  store.settle([1, group, 1, short, 100, 0], 1e9);
  store.settle([1, group, 1, long, 5000, 0], 1e9);
  store.settle([1, group, 1, parked, Infinity, 0], 1e9);
  store.limitWaits(1e9 + 50);
  t.is(store.nextDue(group, false, 0), 1e9 + 100, 'on a clock that runs nothing changes');
  store.limitWaits(1e6);
  store.limitWaits(1e6 + 50);
  t.deepEqual(ids(store.claim(group, 't', 2, ALL, 1e6 + 99)), []);
  t.deepEqual(ids(store.claim(group, 't', 2, ALL, 1e6 + 100)), [short]);
  t.is(store.nextDue(group, false, 1e6 + 100), 1e6 + 5000);
  t.like(store.stats('t', 'g', 1e6), { pending: 4, parked: 1 });
  store.settle([1, group, 1, held, SETTLED, 0], 1e6);
  t.is(store.stats('t', 'g', 1e6).pending, 3, 'what is in hand stays with its owner');
});
