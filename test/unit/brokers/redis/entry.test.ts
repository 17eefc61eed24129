import test from 'ava';
import { compareIds, decodeEntries, nextId, timeOf } from '../../../../src/brokers/redis/entry.ts';

const raw = (id: string, ...fields: string[]): [Buffer, Buffer[]] => [
  Buffer.from(id),
  fields.map((field) => Buffer.from(field)),
];

test('an entry is its data and metadata, wherever they stand', (t) => {
  const [entry] = decodeEntries([raw('1-0', 'x', 'y', 'metadata', '{"a":"b","n":1}', 'data', 'payload')]);
  t.deepEqual(entry, { id: '1-0', data: Buffer.from('payload'), metadata: { a: 'b', n: '1' } });
});

test('what is no JSON object counts as no metadata, and no data as empty', (t) => {
  for (const metadata of ['', '{', '[]', 'null', '"x"', '7']) {
    t.deepEqual(decodeEntries([raw('1-0', 'metadata', metadata)]), [
      { id: '1-0', data: Buffer.alloc(0), metadata: {} },
    ]);
  }
});

test('entries that were deleted from the stream are left out', (t) => {
  t.deepEqual(decodeEntries([null, [Buffer.from('1-0'), null]]), []);
});

test('ids are in the order of their numbers', (t) => {
  const sorted = ['5-9', '5-10', '40-0', '1795523465668-0', '1795523465668-2', '1795523465668-10', '1795523465669-0'];
  t.deepEqual(sorted.toReversed().toSorted(compareIds), sorted);
  t.is(compareIds('1-1', '1-1'), 0);
  t.true(compareIds('1-18446744073709551614', '1-18446744073709551615') < 0);
});

test('the next id is the smallest larger one', (t) => {
  t.is(nextId('1795523465668-9'), '1795523465668-10');
  t.is(nextId('1-9007199254740993'), '1-9007199254740994');
  t.is(nextId('1795523465668-18446744073709551615'), '1795523465669-0');
  t.is(timeOf('1795523465668-9'), 1_795_523_465_668);
});
