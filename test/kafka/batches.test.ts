/** Several messages of one key in hand at once, as a bulk subscription has them. */

import test from 'ava';
import { retry, text, texts } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

test('a message of a batch is not tried again before its time, though others of its key are ready', async (t) => {
  const server = await KafkaServer.start((end) => t.teardown(end));
  const { broker } = await openSite(t, { brokers: server.address, maxInFlight: '4' });
  const failedAt = new Map<string, number>();
  const pauses: number[] = [];
  await broker.subscribe('patient', { metadata: {}, batch: 4 }, async ({ id }) => {
    const before = failedAt.get(id);
    if (before !== undefined) pauses.push(performance.now() - before);
    failedAt.set(id, performance.now());
    return pauses.length < 100 ? retry(1000) : { kind: 'success' };
  });
  const list = texts('m', 24).map((content, index) => {
    return { ...text(content), metadata: { partitionKey: `k${index % 6}` } };
  });
  t.deepEqual(await broker.publish('patient', list), []);
  await until(() => pauses.length >= 10, 'some came again');
  t.true(Math.min(...pauses) > 900, `after ${Math.min(...pauses)} ms`);
});
