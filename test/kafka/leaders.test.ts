/** Leaders that cannot be found, beside others. */

import test from 'ava';
import { publish, Recorder, subscribe } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

test('a topic that is gone holds up no other when the broker has been away', async (t) => {
  const properties = { 'auto.create.topics.enable': 'false' };
  const server = await KafkaServer.start((end) => t.teardown(end), { properties });
  for (const topic of ['staying', 'going']) await server.createTopic(topic, 1);
  const { broker, lines } = await openSite(t, { brokers: server.address, sessionTimeout: '60s' });
  const recorder = new Recorder();
  await subscribe(broker, 'staying', recorder);
  await subscribe(broker, 'going', new Recorder());
  await publish(broker, 'staying', 'before');
  await until(() => recorder.texts.includes('before'), 'it arrived');
  const admin = server.client().admin();
  await admin.connect();
  await admin.deleteTopics({ topics: ['going'] });
  await admin.disconnect();
  await until(() => lines.some((line) => /topic going does not exist/.test(line)), 'it is missed');
  await server.kill();
  await server.start();
  await publish(broker, 'staying', 'after');
  await until(() => recorder.texts.includes('after'), 'reading has gone on');
  t.deepEqual(recorder.texts, ['before', 'after']);
});
