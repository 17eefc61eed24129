/** What has gone from a topic, or seems to have, while the group is at it; and who may not read it any more. */

import test, { type ExecutionContext } from 'ava';
import kafkajs, { type Admin } from 'kafkajs';
import type { Broker, Outcome } from '../../src/core/broker.ts';
import { publish, Recorder, retry, subscribe, SUCCESS, text, texts, textOf } from '../conformance/bench.ts';
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
    'num.partitions': '1',
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
const PARK = retry(Infinity);

const denialOf = (topic: string) => ruleOf(topic, AclOperationTypes.READ, AclPermissionTypes.DENY);

test('a topic that may not be read any more says so once, and goes on when it may', async (t) => {
  await server.createTopic('forbidden', 4);
  const { broker, lines } = await open(t, 'forbidden');
  const recorder = new Recorder();
  await subscribe(broker, 'forbidden', recorder);
  await admin.createAcls({ acl: [denialOf('forbidden')] });
  const told = (): string[] => lines.filter((line) => line.includes('topic forbidden'));
  await until(() => told().length > 0, 'it is told');
  await admin.deleteAcls({ filters: [denialOf('forbidden')] });
  await until(() => publish(broker, 'forbidden', 'x').then(() => true, () => false), 'it can be published'); // prettier-ignore
  await until(() => recorder.messages.length > 0, 'it is read again');
  t.deepEqual(told(), [
    'warn topic forbidden cannot be read, trying again every 5s: Not authorized to access topics: [Topic authorization failed]',
  ]);
});

test('a parked message that cannot be read when it is asked for stays, and comes when it can', async (t) => {
  await server.createTopic('denied', 1);
  const { broker } = await open(t, 'denied');
  let isAllowed = false;
  const recorder = new Recorder(() => (isAllowed ? SUCCESS : PARK));
  await subscribe(broker, 'denied', recorder);
  await publish(broker, 'denied', 'x');
  const denied = denialOf('denied');
  await until(async () => (await broker.stats('denied')).parked === 1, 'it is parked');
  await admin.createAcls({ acl: [denied] });
  const isRefused = (error: Error): boolean => error.message.startsWith('Not authorized to access topics');
  await until(() => broker.unpark('denied').then(() => false, isRefused), 'reading is refused');
  await admin.deleteAcls({ filters: [denied] });
  isAllowed = true;
  const before = recorder.messages.length;
  await until(() => broker.unpark('denied').catch(() => 0), 'it is found');
  await until(() => recorder.messages.length > before, 'it comes again');
  t.deepEqual(new Set(recorder.texts), new Set(['x']));
});

test('what was handled does not come again though the topic has let go of what is parked before it', async (t) => {
  await server.createTopic('retained', 1);
  const first = await open(t, 'retained');
  const before = new Recorder((message) => (textOf(message) === 'm-2' ? PARK : SUCCESS));
  await subscribe(first.broker, 'retained', before);
  await first.broker.publish('retained', texts('m', 20).map(text));
  await until(async () => {
    const { lag, pending, parked } = await first.broker.stats('retained');
    return before.messages.length === 20 && lag === 0 && pending === 1 && parked === 1;
  }, 'one is parked'); // prettier-ignore
  await first.broker.close();
  await admin.deleteTopicRecords({ topic: 'retained', partitions: [{ partition: 0, offset: '10' }] });
  const second = await open(t, 'retained');
  const after = new Recorder();
  await subscribe(second.broker, 'retained', after);
  await publish(second.broker, 'retained', 'new');
  await until(() => after.texts.includes('new'), 'what is new arrives');
  t.deepEqual(after.texts, ['new']);
});

/** Makes a topic anew after it was deleted, with messages in it. */
async function renew(topic: string, publisher: Broker, contents: readonly string[], numPartitions = 1): Promise<void> {
  const topics = [{ topic, numPartitions, replicationFactor: 1 }];
  await until(() => admin.createTopics({ topics, waitForLeaders: false }).catch(() => false), 'it is there again');
  const isFresh = async (): Promise<boolean> => {
    const all = contents.map((content, index) => {
      return { ...text(content), metadata: { partitionNumber: String(index % numPartitions) } };
    });
    return (await publisher.publish(topic, all)).length === 0;
  };
  await until(isFresh, 'they are taken');
}

test('a topic that is made anew is read from its start, also where it has grown already', async (t) => {
  await server.createTopic('grown', 1);
  const { broker: publisher } = await open(t, 'publisher');
  const { broker, lines } = await open(t, 'grown');
  const recorder = new Recorder();
  await subscribe(broker, 'grown', recorder);
  await publisher.publish('grown', texts('old', 2).map(text));
  await until(() => recorder.messages.length === 2, 'the old ones are handled');
  await admin.deleteTopics({ topics: ['grown'] });
  await until(() => lines.some((line) => /topic grown does not exist/.test(line)), 'it is missed');
  const all = texts('new', 8);
  await renew('grown', publisher, all);
  await until(() => recorder.texts.includes('new-7'), 'the last arrives');
  t.deepEqual(recorder.texts.slice(2), all);
});

test('a topic that is made anew is read from its start, whatever is in hand of the old one', async (t) => {
  await server.createTopic('anew', 1);
  const { broker: publisher } = await open(t, 'publisher');
  const first = await open(t, 'anew', { ordering: 'none' });
  const held = Promise.withResolvers<Outcome>();
  const before = new Recorder((message) => {
    const content = textOf(message);
    if (content === 'old-1') return held.promise;
    return content === 'old-3' ? retry(60_000) : content === 'new-1' ? new Promise(() => undefined) : SUCCESS;
  });
  await subscribe(first.broker, 'anew', before);
  await publisher.publish('anew', texts('old', 5).map(text));
  await until(() => before.texts.includes('old-4'), 'the old ones are in hand');
  await admin.deleteTopics({ topics: ['anew'] });
  const all = texts('new', 8);
  await renew('anew', publisher, all);
  await until(() => all.every((one) => before.texts.includes(one)), 'all of the new one arrive');
  held.resolve(SUCCESS);
  await until(async () => {
    const { lag, pending } = await first.broker.stats('anew');
    return lag === 0 && pending === 1;
  }, 'all but one are settled'); // prettier-ignore
  await first.broker.close();
  const after = new Recorder();
  await subscribe((await open(t, 'anew')).broker, 'anew', after);
  await until(() => after.messages.length > 0, 'what was not settled comes again');
  t.deepEqual(after.texts, ['new-1']);
});

test('a topic that is made anew with more partitions is read whole', async (t) => {
  await server.createTopic('more', 1);
  const first = await open(t, 'more', { initialOffset: 'newest' });
  const recorder = new Recorder();
  await subscribe(first.broker, 'more', recorder);
  await publish(first.broker, 'more', 'old');
  await until(() => recorder.messages.length === 1, 'the old one is handled');
  await admin.deleteTopics({ topics: ['more'] });
  await until(() => first.lines.some((line) => /topic more does not exist/.test(line)), 'it is missed');
  const all = texts('new', 8);
  await renew('more', (await open(t, 'publisher')).broker, all, 4);
  await until(() => recorder.messages.length > 8, 'all arrive').catch(() => undefined);
  t.deepEqual(recorder.texts.slice(1).toSorted(), all);
});

test('a topic that is made anew is read from its start though the group has changed meanwhile', async (t) => {
  await Promise.all(['left', 'right'].map((topic) => server.createTopic(topic, 1)));
  const first = await open(t, 'changed', { initialOffset: 'newest' });
  const recorder = new Recorder();
  await subscribe(first.broker, 'left', recorder);
  await publish(first.broker, 'left', 'old');
  await until(() => recorder.messages.length === 1, 'the old one is handled');
  await admin.deleteTopics({ topics: ['left'] });
  await until(() => first.lines.some((line) => /topic left does not exist/.test(line)), 'it is missed');
  await subscribe(first.broker, 'right', new Recorder());
  const all = texts('new', 8);
  await renew('left', (await open(t, 'publisher')).broker, all);
  await until(() => recorder.messages.length > 8, 'all arrive').catch(() => undefined);
  t.deepEqual(recorder.texts.slice(1), all);
});

test('a topic that is made anew while nothing more of it is wanted is read from its start', async (t) => {
  await server.createTopic('full', 1);
  const { broker: publisher } = await open(t, 'publisher');
  const { broker } = await open(t, 'full', { maxInFlight: '1', channelBufferSize: '1' });
  const held = Promise.withResolvers<Outcome>();
  const recorder = new Recorder((message) => (textOf(message) === 'old-0' ? held.promise : SUCCESS));
  await subscribe(broker, 'full', recorder);
  await publisher.publish('full', texts('old', 4).map(text));
  await until(() => recorder.messages.length === 1, 'one is in hand, and the rest');
  await admin.deleteTopics({ topics: ['full'] });
  const all = texts('new', 8);
  await renew('full', (await open(t, 'another')).broker, all);
  held.resolve(SUCCESS);
  await until(() => recorder.texts.includes('new-7'), 'the last arrives');
  t.deepEqual(recorder.texts.filter((one) => one.startsWith('new')), all); // prettier-ignore
});
