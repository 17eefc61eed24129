/** Offsets of some partitions cannot be committed; those of others are. */

import test, { type ExecutionContext } from 'ava';
import kafkajs, { type Admin } from 'kafkajs';
import type { Outcome } from '../../src/core/broker.ts';
import { publish, Recorder, retry, subscribe, SUCCESS, text, textOf, texts } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { openSite, ruleOf } from './_site.ts';

const { AclOperationTypes, AclPermissionTypes } = kafkajs;

const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
let admin: Admin;
test.before(async () => {
  const properties = {
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'allow.everyone.if.no.acl.found': 'true',
    'auto.create.topics.enable': 'false',
    // A note of some messages has room, one of a hundred not; and not hundreds of partitions in one request.
    'offset.metadata.max.bytes': '100',
    'message.max.bytes': '10000',
  };
  server = await KafkaServer.start((end) => ends.push(end), { properties });
  admin = server.client().admin();
  await admin.connect();
});
test.after.always(async () => {
  await admin.disconnect();
  await Promise.all(ends.map((end) => end()));
});

const open = (t: ExecutionContext, group: string, settings: Record<string, string> = {}) =>
  openSite(t, { brokers: server.address, ...settings }, group);

/** The offset of the only partition of a topic, as an independent client sees it. */
async function committed(groupId: string, topic: string): Promise<number> {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] });
  return Number(found?.partitions[0]?.offset);
}

test('a topic whose offsets may not be committed is refused alone', async (t) => {
  await Promise.all(['secret', 'open'].map((topic) => server.createTopic(topic, 2)));
  await admin.createAcls({
    acl: [
      ruleOf('secret', AclOperationTypes.READ, AclPermissionTypes.DENY),
      ruleOf('secret', AclOperationTypes.DESCRIBE, AclPermissionTypes.ALLOW),
    ],
  });
  const { broker } = await open(t, 'partly', { initialOffset: 'newest' });
  const recorder = new Recorder();
  const [secret, opened] = await Promise.allSettled([
    subscribe(broker, 'secret', new Recorder()),
    subscribe(broker, 'open', recorder),
  ]);
  t.is(opened.status, 'fulfilled');
  t.regex(String((secret as PromiseRejectedResult).reason), /Not authorized to access topics/);
  await publish(broker, 'open', 'x');
  await until(() => recorder.messages.length === 1, 'it arrives');
});

test('a topic that has gone keeps no offsets of others from being committed', async (t) => {
  await Promise.all(['away', 'here'].map((topic) => server.createTopic(topic, 1)));
  const { broker, lines } = await open(t, 'partly-gone', { ordering: 'none', maxInFlight: '200' });
  const held = Promise.withResolvers<Outcome>();
  const away = new Recorder(() => held.promise);
  // The first ones wait, all behind them are settled: too much for a note.
  const here = new Recorder((message) => (Number(textOf(message).slice(2)) % 2 === 1 ? retry(60_000) : SUCCESS));
  await Promise.all([subscribe(broker, 'away', away), subscribe(broker, 'here', here)]);
  await publish(broker, 'away', 'x');
  await until(() => away.messages.length === 1, 'it is in hand');
  await admin.deleteTopics({ topics: ['away'] });
  await until(() => lines.some((line) => /topic away does not exist/.test(line)), 'it is missed');
  held.resolve(SUCCESS);
  await broker.publish('here', texts('m', 200).map(text));
  await until(() => here.messages.length === 200, 'all are handled');
  await until(async () => (await committed('partly-gone', 'here')) === 1, 'what can be is committed');
  const isTold = (): boolean => lines.some((line) => /offsets of topic away cannot be committed/.test(line));
  await until(isTold, 'what cannot be is told');
  const began = performance.now();
  await broker.close();
  t.true(performance.now() - began < 1000, 'and nobody waits for what cannot be');
});

test('more partitions than have room in one request are committed in several', async (t) => {
  const topics = texts('many', 4);
  for (const topic of topics) await server.createTopic(topic, 60);
  const { broker } = await open(t, 'plenty', { maxInFlight: '60' });
  const allAreInHand = Promise.withResolvers<Outcome>();
  const recorder = new Recorder(() => allAreInHand.promise);
  await Promise.all(topics.map((topic) => subscribe(broker, topic, recorder)));
  for (const topic of topics) {
    const messages = texts('m', 60).map((content, index) => {
      return { ...text(content), metadata: { partitionNumber: String(index) } };
    });
    t.deepEqual(await broker.publish(topic, messages), []);
  }
  await until(() => recorder.messages.length === 240, 'all are in hand');
  allAreInHand.resolve(SUCCESS);
  const offsets = async (): Promise<string[]> => {
    const found = await admin.fetchOffsets({ groupId: 'plenty', topics });
    return found.flatMap(({ partitions }) => partitions.map(({ offset }) => offset));
  };
  await until(async () => (await offsets()).every((offset) => offset === '1'), 'all are committed');
  t.is((await offsets()).length, 240);
});
