/** In one group with members of another make. */

import { AssignerProtocol, type PartitionAssigner } from 'kafkajs';
import test from 'ava';
import { publish, Recorder, subscribe, texts } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
test.before(async () => {
  server = await KafkaServer.start((end) => ends.push(end), { properties: { 'num.partitions': '4' } });
});
test.after.always(() => Promise.all(ends.map((end) => end())));

const { MemberAssignment, MemberMetadata } = AssignerProtocol;

/** Says `range`, as the Go client does, and leads as well as it follows: every other partition to every other member. */
const range: PartitionAssigner = ({ cluster }) => ({
  name: 'range',
  version: 1,
  protocol: ({ topics }) => ({
    name: 'range',
    metadata: MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
  }),
  assign: async ({ members, topics }) =>
    members.map(({ memberId }, index) => ({
      memberId,
      memberAssignment: MemberAssignment.encode({
        version: 0,
        userData: Buffer.alloc(0),
        assignment: Object.fromEntries(
          topics.map((topic) => [
            topic,
            cluster
              .findTopicPartitionMetadata(topic)
              .map(({ partitionId }) => partitionId)
              .filter((id) => id % members.length === index),
          ]),
        ),
      }),
    })),
});

test('two makes share a group, whichever leads it: each message is handled by one of them', async (t) => {
  await server.createTopic('company', 4);
  const { broker: publisher } = await openSite(t, { brokers: server.address }, 'publisher');
  const other = server.client().consumer({
    groupId: 'team',
    partitionAssigners: [range],
    heartbeatInterval: 100,
    sessionTimeout: 2000,
    maxWaitTimeInMs: 100,
  });
  const theirs: string[] = [];
  const join = async (): Promise<void> => {
    await other.connect();
    await other.subscribe({ topic: 'company', fromBeginning: true });
    await other.run({
      autoCommitInterval: 100,
      eachMessage: async ({ message }) => void theirs.push(String(message.value)),
    });
  };
  t.teardown(() => other.disconnect());
  const [recorder, after] = [new Recorder(), new Recorder()];
  const handled = (): string[] => [...recorder.texts, ...after.texts, ...theirs];
  const ours = await openSite(t, { brokers: server.address });
  await subscribe(ours.broker, 'company', recorder);
  const sent: string[] = [];
  const share = async (prefix: string, isShared: () => boolean): Promise<void> => {
    for (let round = 0; !isShared(); round++) {
      const all = texts(`${prefix}-${round}`, 64);
      sent.push(...all);
      for (const content of all) await publish(publisher, 'company', content);
      t.true(round < 50, 'both get some');
    }
    await until(() => new Set(handled()).size === sent.length, `all of ${prefix} were handled`);
  };
  // Ours leads, since it was there first.
  await join();
  await share('ours', () => theirs.length > 0 && recorder.messages.length > 0);
  // Theirs leads, and ours comes back.
  await ours.broker.close();
  const before = theirs.length;
  await until(async () => {
    const content = `alone-${sent.length}`;
    sent.push(content);
    await publish(publisher, 'company', content);
    return theirs.length > before + 8;
  }, 'the other make has everything'); // prettier-ignore
  const again = await openSite(t, { brokers: server.address });
  await subscribe(again.broker, 'company', after);
  const count = theirs.length;
  await share('theirs', () => theirs.length > count + 8 && after.messages.length > 0);
  t.log(`${theirs.length} theirs, ${handled().length - theirs.length} ours, ${sent.length} sent`);
});

test('a member that shares out in another way is told so', async (t) => {
  await server.createTopic('strategies', 4);
  const first = await openSite(t, { brokers: server.address }, 'strategists');
  await subscribe(first.broker, 'strategies', new Recorder());
  const consumerGroupRebalanceStrategy = 'roundrobin';
  const second = await openSite(t, { brokers: server.address, consumerGroupRebalanceStrategy }, 'strategists');
  await t.throwsAsync(subscribe(second.broker, 'strategies', new Recorder()), {
    message: 'group strategists shares out partitions in another way than roundrobin',
  });
});
