/** What has gone from a topic, or seems to have, while the group is at it. */

import test, { type ExecutionContext } from 'ava';
import kafkajs, { type Admin } from 'kafkajs';
import { publish, Recorder, retry, subscribe, SUCCESS, text, texts, textOf } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, ResourcePatternTypes } = kafkajs;

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

test('a parked message that cannot be read when it is asked for stays, and comes when it can', async (t) => {
  await server.createTopic('denied', 1);
  const { broker } = await open(t, 'denied');
  const recorder = new Recorder(({ attempt }) => (attempt === 1 ? PARK : SUCCESS));
  await subscribe(broker, 'denied', recorder);
  await publish(broker, 'denied', 'x');
  await until(async () => (await broker.stats('denied')).parked === 1, 'it is parked');
  const denied = {
    resourceType: AclResourceTypes.TOPIC,
    resourceName: 'denied',
    resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: 'User:ANONYMOUS',
    host: '*',
    operation: AclOperationTypes.READ,
    permissionType: AclPermissionTypes.DENY,
  };
  await admin.createAcls({ acl: [denied] });
  await t.throwsAsync(broker.unpark('denied'), { message: /^Not authorized to access topics/ });
  await admin.deleteAcls({ filters: [denied] });
  await until(() => broker.unpark('denied').catch(() => 0), 'it is found');
  await until(() => recorder.messages.length === 2, 'it comes again');
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
