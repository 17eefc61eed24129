import test from 'ava';
import {
  readAssignment,
  readSubscription,
  shareOut,
  writeAssignment,
  writeSubscription,
  type Assignment,
  type GroupMember,
  type Strategy,
} from '../../../../src/brokers/kafka/assignment.ts';

const member = (id: string, topics: string[], owned: Assignment = new Map()): GroupMember => ({ id, topics, owned });
const COUNTS = new Map([['one', 5], ['two', 2]]); // prettier-ignore

function plain(strategy: Strategy, ...members: GroupMember[]): unknown {
  const shares = [...shareOut(strategy, members, COUNTS)];
  return Object.fromEntries(shares.map(([id, share]) => [id, Object.fromEntries(share)]));
}

test('range gives each member a run of each topic', (t) => {
  t.deepEqual(plain('range', member('b', ['one', 'two']), member('a', ['one'])), {
    a: { one: [0, 1, 2] },
    b: { one: [3, 4], two: [0, 1] },
  });
});

test('roundrobin deals all partitions out in turn, to those who asked for the topic', (t) => {
  t.deepEqual(plain('roundrobin', member('a', ['one', 'two']), member('b', ['one', 'two'])), {
    a: { one: [0, 2, 4], two: [1] },
    b: { one: [1, 3], two: [0] },
  });
  t.deepEqual(plain('roundrobin', member('a', ['one']), member('b', ['two'])), {
    a: { one: [0, 1, 2, 3, 4] },
    b: { two: [0, 1] },
  });
});

test('sticky leaves members what they had, as far as that is fair', (t) => {
  const had = new Map([['one', [0, 1, 2, 3, 4]], ['two', [0, 1]]]); // prettier-ignore
  t.deepEqual(plain('sticky', member('a', ['one', 'two'], had), member('b', ['one', 'two'])), {
    a: { one: [0, 1, 2, 3] },
    b: { one: [4], two: [0, 1] },
  });
});

test('every partition goes to exactly one member, whoever asks for what', (t) => {
  for (const strategy of ['range', 'roundrobin', 'sticky'] as const) {
    const members = ['a', 'b', 'c', 'd', 'e', 'f'].map((id, index) =>
      member(id, index % 2 === 0 ? ['one', 'two'] : ['one']),
    );
    const all = [...shareOut(strategy, members, COUNTS).values()].flatMap((share) =>
      [...share].flatMap(([topic, partitions]) => partitions.map((partition) => `${topic} ${partition}`)),
    );
    t.deepEqual(all.toSorted(), ['one 0', 'one 1', 'one 2', 'one 3', 'one 4', 'two 0', 'two 1'], strategy);
  }
});

test('what members tell each other is read as it was written', (t) => {
  const owned = new Map([['one', [3, 4]]]);
  t.deepEqual(
    readSubscription('a', writeSubscription(['one', 'two'], 'sticky', owned, 7)),
    member('a', ['one', 'two'], owned),
  );
  t.deepEqual(readSubscription('a', writeSubscription(['one'], 'range', owned, 7)), member('a', ['one']));
  for (const strategy of ['range', 'sticky'] as const) {
    t.deepEqual(readAssignment(writeAssignment(owned, strategy, 7)), owned);
  }
  t.deepEqual(readAssignment(Buffer.alloc(0)), new Map());
});
