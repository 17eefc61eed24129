/** How several partitions are read beside each other. */

import test, { type ExecutionContext } from 'ava';
import { Recorder, subscribe, text } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
test.before(async () => {
  server = await KafkaServer.start((end) => ends.push(end));
});
test.after.always(() => Promise.all(ends.map((end) => end())));

const to = (partitionNumber: string, content: string) => ({ ...text(content), metadata: { partitionNumber } });

/** Two thousand messages in partition 0, in batches of ten, and one of `size` bytes in partition 1: how many come before it. */
async function before(t: ExecutionContext, topic: string, size: number): Promise<number> {
  await server.createTopic(topic, 2);
  const settings = { brokers: server.address, consumerFetchDefault: '2000', ordering: 'none' };
  const { broker } = await openSite(t, settings, topic);
  const small = Array.from({ length: 10 }, () => to('0', 'small '.repeat(30)));
  for (let round = 0; round < 200; round++) t.deepEqual(await broker.publish(topic, small), []);
  t.deepEqual(await broker.publish(topic, [to('1', 'l'.repeat(size))]), []);
  const recorder = new Recorder();
  await subscribe(broker, topic, recorder);
  const place = (): number => recorder.messages.findIndex(({ metadata }) => metadata['__partition'] === '1');
  await until(() => place() >= 0, 'it arrives');
  return place();
}

test('a message larger than a read is not held up by a partition that always has something', async (t) => {
  const place = await before(t, 'large', 6000);
  t.true(place < 500, `behind ${place} others`);
});

test('the end of a transaction is committed though no message comes after it', async (t) => {
  await server.createTopic('transactions', 1);
  const admin = server.client().admin();
  await admin.connect();
  t.teardown(() => admin.disconnect());
  const isCommitted = async (offset: string): Promise<boolean> => {
    const [topic] = await admin.fetchOffsets({ groupId: 'transactions', topics: ['transactions'] });
    return topic?.partitions[0]?.offset === offset;
  };
  const { broker } = await openSite(t, { brokers: server.address }, 'transactions');
  const recorder = new Recorder();
  await subscribe(broker, 'transactions', recorder);
  const producer = server.client().producer({ transactionalId: 'tx', idempotent: true, maxInFlightRequests: 1 });
  await producer.connect();
  t.teardown(() => producer.disconnect());
  const transaction = await producer.transaction();
  await transaction.send({ topic: 'transactions', messages: [{ value: 'a' }] });
  await until(() => isCommitted('1'), 'it is handled');
  await transaction.commit();
  await until(() => isCommitted('2'), 'its end is committed', 10_000);
  t.deepEqual(recorder.texts, ['a']);
});
