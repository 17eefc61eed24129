/** Members of a group at a bad moment. */

import test from 'ava';
import { publish, Recorder, subscribe, text } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { freePort, freePorts } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { JOIN_GROUP, LIST_OFFSETS, METADATA, OFFSET_COMMIT, openGate } from './_gate.ts';
import { openSite } from './_site.ts';

test('a leader of a group that cannot ask for the partitions shares them out when it can', async (t) => {
  const port = await freePort();
  const server = await KafkaServer.start((end) => t.teardown(end), {
    listeners: { WORN: 'PLAINTEXT' },
    properties: { 'advertised.listeners': `PLAINTEXT://127.0.0.1:{port},WORN://127.0.0.1:${port}` },
  });
  // Cuts the connection on which partitions are asked for after the group was joined, once.
  let joins = 0;
  let cuts = 0;
  await openGate(t, port, server.addressOf('WORN'), (api) => {
    if (api === JOIN_GROUP) joins++;
    if (api !== METADATA || joins === 0 || cuts > 0) return undefined;
    cuts++;
    return 'cut';
  });
  const { broker } = await openSite(t, { brokers: `127.0.0.1:${port}` });
  const recorder = new Recorder();
  await subscribe(broker, 'shared', recorder);
  await publish(broker, 'shared', 'x');
  await until(() => recorder.messages.length === 1, 'it arrives');
  t.is(cuts, 1);
});

test('a member that is late to see where a new group begins passes nothing over', async (t) => {
  const ports = await freePorts(2);
  const [one, two] = ports.map((port) => `127.0.0.1:${port}`);
  const server = await KafkaServer.start((end) => t.teardown(end), {
    listeners: { ONE: 'PLAINTEXT', TWO: 'PLAINTEXT' },
    properties: {
      'advertised.listeners': `PLAINTEXT://127.0.0.1:{port},ONE://${one},TWO://${two}`,
      // Both are members from the start.
      'group.initial.rebalance.delay.ms': '3000',
    },
  });
  await server.createTopic('late', 4);
  // Who looks for the end first does not commit it before the other looks too, and that one does not see it before
  // the first is subscribed.
  const lookers: number[] = [];
  const [isLate, isPublished] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  for (const [index, name] of ['ONE', 'TWO'].entries()) {
    await openGate(t, ports[index] as number, server.addressOf(name), (api) => {
      if (api === LIST_OFFSETS && !lookers.includes(index) && lookers.push(index) === 2) isLate.resolve();
      if (api === LIST_OFFSETS && lookers[1] === index) return isPublished.promise;
      return api === OFFSET_COMMIT && lookers[0] === index ? isLate.promise : undefined;
    });
  }
  const recorders = [new Recorder(), new Recorder()];
  const subscribing = [one, two].map(async (brokers = '', index) => {
    const { broker } = await openSite(t, { brokers, initialOffset: 'newest', sessionTimeout: '10s' });
    await subscribe(broker, 'late', recorders[index] as Recorder);
  });
  await Promise.race(subscribing);
  const { broker } = await openSite(t, { brokers: server.address }, 'publisher');
  const all = ['0', '1', '2', '3'].map((number) => ({ ...text(number), metadata: { partitionNumber: number } }));
  t.deepEqual(await broker.publish('late', all), []);
  isPublished.resolve();
  await Promise.all(subscribing);
  const arrived = (): string[] => recorders.flatMap(({ texts }) => texts).toSorted();
  await until(() => arrived().length === 4, 'all arrived').catch(() => undefined);
  t.deepEqual(arrived(), ['0', '1', '2', '3']);
  t.true(recorders.every(({ messages }) => messages.length > 0), 'both are members'); // prettier-ignore
});
