import test from 'ava';
import { readNote, writeNote, type Unsettled } from '../../../../src/brokers/kafka/note.ts';

const open = (...list: [offset: number, attempt: number, dueAt: number][]): Unsettled[] =>
  list.map(([offset, attempt, dueAt]) => ({ offset, attempt, dueAt }));

test('a note says what is not settled, how often it was delivered and when it is due', (t) => {
  const soon = Math.ceil((Date.now() + 5000) / 100) * 100;
  const entries = open([1000, 1, soon], [1001, 0, 0], [1500, 7, Infinity], [5_000_000_000, 300, 0]);
  const note = readNote(1000, writeNote(1000, 5_000_000_001, entries));
  t.is(note?.until, 5_000_000_001);
  t.deepEqual([...(note?.open.values() ?? [])], entries);
});

test('a time to wait is never shortened', (t) => {
  const dueAt = Date.now() + 777;
  const note = readNote(5, writeNote(5, 6, open([5, 1, dueAt])));
  const read = note?.open.get(5)?.dueAt ?? 0;
  t.true(read >= dueAt && read < dueAt + 100);
});

test('where nothing is open behind the offset there is no note', (t) => {
  t.is(writeNote(7, 7, []), '');
  t.is(writeNote(7, 7, open([9, 0, 0])), '');
});

test('what has no room is delivered once more, and nothing else', (t) => {
  const all = Array.from({ length: 5000 }, (_, index) => ({ offset: index * 3, attempt: index % 4, dueAt: 0 }));
  const text = writeNote(0, 15_000, all);
  t.true(text.length <= 4096);
  const note = readNote(0, text);
  t.truthy(note);
  const { until, open: read } = note as NonNullable<typeof note>;
  t.true(until > 1000 && until < 15_000);
  t.deepEqual([...read.values()], all.filter(({ offset }) => offset < until)); // prettier-ignore
});

test('what others wrote, or what is damaged, is no note', (t) => {
  for (const text of [null, '', 'anything', 'dapr1:', 'dapr1:gA==']) t.is(readNote(3, text), undefined, String(text));
});
