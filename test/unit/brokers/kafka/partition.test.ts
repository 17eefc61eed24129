import test from 'ava';
import { codecOf } from '../../../../src/brokers/kafka/compression.ts';
import type { Held, Lane } from '../../../../src/brokers/kafka/lanes.ts';
import { Partition } from '../../../../src/brokers/kafka/partition.ts';
import { decodeBatches, encodeBatch, NOBODY } from '../../../../src/brokers/kafka/record-batch.ts';

const MAX_OPEN = 220;

test('what waits behind parked messages goes on when those turn out to have gone from the topic', async (t) => {
  const ready: Lane[] = [];
  const ignore = (): void => undefined;
  const partition = new Partition('topic', 0, 0, undefined, {
    ordering: 'key',
    readAhead: 1000,
    together: () => 1,
    onReady: (lane) => ready.push(lane),
    onSettled: ignore,
    onChange: ignore,
    onRoom: ignore,
  });
  const records = Array.from({ length: MAX_OPEN + 1 }, (_, index) => ({
    key: Buffer.from(String(index)),
    value: Buffer.from('x'),
    headers: Buffer.from([0]),
    timestamp: 1,
  }));
  partition.take(0, await decodeBatches(await encodeBatch(records, NOBODY, 0, undefined), 0, codecOf));
  for (const { queue } of ready.splice(0, MAX_OPEN)) {
    const [held] = queue as [Held];
    partition.begin(held);
    partition.park(held);
  }
  const [last] = ready.splice(0) as [Lane];
  t.false(partition.mayBegin(last.queue[0] as Held));
  partition.stall(last);
  for (const held of partition.parked) partition.unpark(held, undefined);
  t.deepEqual(ready, [last]);
  t.true(partition.mayBegin(last.queue[0] as Held));
});
