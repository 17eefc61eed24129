import test, { type ExecutionContext } from 'ava';
import { codecOf } from '../../../../src/brokers/kafka/compression.ts';
import type { Held, Lane } from '../../../../src/brokers/kafka/lanes.ts';
import { Partition } from '../../../../src/brokers/kafka/partition.ts';
import { decodeBatches, encodeBatch, NOBODY } from '../../../../src/brokers/kafka/record-batch.ts';

const MAX_OPEN = 220;

/** A partition that has read one message of each key, and the lanes that are ready. */
async function filled(t: ExecutionContext, keys: readonly string[], together = 1) {
  const ready: Lane[] = [];
  const ignore = (): void => undefined;
  const partition = new Partition('topic', 0, 0, undefined, {
    topicId: undefined,
    ordering: 'key',
    readAhead: 1000,
    together: () => together,
    onReady: (lane) => ready.push(lane),
    onSettled: ignore,
    onChange: ignore,
    onRoom: ignore,
  });
  t.teardown(() => partition.revoke());
  const records = keys.map((key) => {
    return { key: Buffer.from(key), value: Buffer.from('x'), headers: Buffer.from([0]), timestamp: 1 };
  });
  partition.take(0, await decodeBatches(await encodeBatch(records, NOBODY, 0, undefined), 0, codecOf));
  /** Delivers the first message of the lane that has been ready longest. */
  const begin = (): Held => {
    const [held] = ready.shift()?.queue as [Held];
    partition.begin(held);
    return held;
  };
  return { partition, ready, begin };
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

test('what waits behind parked messages goes on when those turn out to have gone from the topic', async (t) => {
  const { partition, ready, begin } = await filled(t, numbers(MAX_OPEN + 1));
  for (let count = 0; count < MAX_OPEN; count++) partition.park(begin());
  const [last] = ready.splice(0) as [Lane];
  t.false(partition.mayBegin(last.queue[0] as Held));
  partition.stall(last);
  for (const held of partition.parked) partition.unpark(held, undefined);
  t.deepEqual(ready, [last]);
  t.true(partition.mayBegin(last.queue[0] as Held));
});

test('a parked message that is asked for does not wait for the time of one behind it', async (t) => {
  const { partition, ready, begin } = await filled(t, ['a', 'a']);
  const first = begin();
  const { record } = first;
  partition.park(first);
  partition.retry(begin(), 60_000);
  t.deepEqual(ready, []);
  partition.unpark(first, record);
  t.is(begin(), first);
  partition.settle(first);
  t.deepEqual(ready, []);
});

test('a retry does not wait for the time of a later one of its key', async (t) => {
  const { partition, ready, begin } = await filled(t, ['a', 'a'], 2);
  const [first, second] = [begin(), begin()];
  partition.retry(second, 60_000);
  partition.retry(first, 0);
  t.is(ready[0]?.queue[0], first);
});

test('a retry goes on where what is new has to wait until less is open', async (t) => {
  const { partition, ready, begin } = await filled(t, [...numbers(MAX_OPEN - 1), 'a', 'a'], 2);
  for (let count = 1; count < MAX_OPEN; count++) partition.park(begin());
  const retried = begin();
  partition.stall(ready.shift() as Lane);
  partition.retry(retried, 0);
  t.is(ready[0]?.queue[0], retried);
});
