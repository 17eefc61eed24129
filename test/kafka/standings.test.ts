import test from 'ava';
import { publish, texts } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { LIST_OFFSETS, METADATA, OFFSET_FETCH, openGate } from './_gate.ts';
import { openSite } from './_site.ts';

test('how the group stands on fifty topics takes a handful of requests', async (t) => {
  const port = await freePort();
  const server = await KafkaServer.start((end) => t.teardown(end), {
    listeners: { COUNTED: 'PLAINTEXT' },
    properties: { 'advertised.listeners': `PLAINTEXT://127.0.0.1:{port},COUNTED://127.0.0.1:${port}` },
  });
  let requests = 0;
  await openGate(t, port, server.addressOf('COUNTED'), (api) => {
    if ([LIST_OFFSETS, METADATA, OFFSET_FETCH].includes(api)) requests++;
    return undefined;
  });
  const { broker } = await openSite(t, { brokers: `127.0.0.1:${port}` });
  const topics = texts('standing', 50);
  for (const topic of topics) await publish(broker, topic, 'x');
  const ask = () => Promise.all(topics.map((topic) => broker.stats(topic)));
  await until(() => ask().then(() => true, () => false), 'the group has a coordinator'); // prettier-ignore
  const before = requests;
  const standings = await ask();
  t.is(standings.length, 50);
  t.true(requests - before <= 5, `${requests - before} requests`);
});
