/** Three brokers of one cluster, of which some are killed while events are published and delivered. */

import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { Kafka, logLevel } from 'kafkajs';
import { Recorder, subscribe, text } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { audit } from './_audit.ts';
import { openSite } from './_site.ts';

/** What is acknowledged is on two brokers at least, and where groups are on all three. */
const PROPERTIES = {
  'num.partitions': '4',
  'default.replication.factor': '3',
  'offsets.topic.replication.factor': '3',
  'min.insync.replicas': '2',
};
const PATIENCE_MS = 120_000;

const ends: (() => Promise<void>)[] = [];
let servers: KafkaServer[];
test.before(async () => {
  servers = await KafkaServer.startCluster((end) => ends.push(end), 3, { properties: PROPERTIES });
});
test.after.always(() => Promise.all(ends.map((end) => end())));

const addresses = (): string[] => servers.map(({ address }) => address);

/** The leader of each partition and how many brokers have all of it, as an independent client sees them. */
async function partitionsOf(topic: string): Promise<{ partitionId: number; leader: number; isr: number[] }[]> {
  const admin = new Kafka({ brokers: addresses(), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0]?.partitions ?? [];
  } finally {
    await admin.disconnect();
  }
}

const isWhole = async (topic: string): Promise<boolean> =>
  partitionsOf(topic).then(
    (partitions) => partitions.length === 4 && partitions.every(({ isr }) => isr.length === 3),
    () => false,
  );

/** Publishes without a pause to a topic that two groups read, while `storm` goes on; nothing acknowledged may be lost. */
async function withstand(
  t: ExecutionContext,
  topic: string,
  storm: (acknowledged: readonly string[]) => Promise<void>,
): Promise<void> {
  const settings = { brokers: addresses().join(), readTimeout: '5s' };
  const groups = await Promise.all(['first', 'second'].map((group) => openSite(t, settings, group)));
  const recorders = groups.map(() => new Recorder());
  for (const [index, { broker }] of groups.entries()) await subscribe(broker, topic, recorders[index] as Recorder);
  const { broker: publisher } = await openSite(t, settings, 'publisher');
  const [tried, acknowledged]: [string[], string[]] = [[], []];
  const published: Promise<void>[] = [];
  let isOver = false;
  const publishing = (async () => {
    for (let next = 0; !isOver; next++) {
      const key = `key-${next % 20}`;
      const content = `${key} ${next}`;
      tried.push(content);
      const one = publisher.publish(topic, [{ ...text(content), metadata: { partitionKey: key } }]);
      published.push(one.then((failures) => void (failures.length === 0 && acknowledged.push(content))));
      await wait(5);
    }
  })();
  try {
    await until(() => acknowledged.length > 50, 'events are taken', PATIENCE_MS);
    await storm(acknowledged);
  } finally {
    isOver = true;
    await publishing;
  }
  await Promise.all(published);
  for (const [index, { broker }] of groups.entries()) {
    const isDone = async (): Promise<boolean> => {
      const { lag, pending } = await broker.stats(topic);
      return lag + pending === 0;
    };
    await until(() => isDone().catch(() => false), 'everything is settled', PATIENCE_MS);
    audit(t, { tried, acknowledged, handled: (recorders[index] as Recorder).texts });
  }
}

/** More is acknowledged than there was. */
const goesOn = (acknowledged: readonly string[]): Promise<unknown> => {
  const before = acknowledged.length;
  return until(() => acknowledged.length > before + 100, 'events are taken', PATIENCE_MS);
};

test.serial('the broker that leads a partition is killed and comes back: events go on, and none is lost', async (t) => {
  t.timeout(5 * PATIENCE_MS);
  await withstand(t, 'leader', async (acknowledged) => {
    const [first] = await partitionsOf('leader');
    const leader = servers[(first?.leader ?? 0) - 1] as KafkaServer;
    await leader.kill();
    const hasMoved = async (): Promise<boolean> => {
      const [now] = await partitionsOf('leader');
      return now !== undefined && now.leader > 0 && now.leader !== first?.leader;
    };
    await until(() => hasMoved().catch(() => false), 'another one leads', PATIENCE_MS);
    await goesOn(acknowledged);
    await leader.start();
    await until(() => isWhole('leader'), 'it has caught up', PATIENCE_MS);
    await goesOn(acknowledged);
  });
});

test.serial('one broker after the other is killed until none is left, and they come back: none is lost', async (t) => {
  t.timeout(5 * PATIENCE_MS);
  await withstand(t, 'outage', async (acknowledged) => {
    const [first, second, third] = servers as [KafkaServer, KafkaServer, KafkaServer];
    await first.kill();
    await goesOn(acknowledged);
    // Without a majority nobody may become a leader, and nothing is on two brokers any more.
    await second.kill();
    await wait(1000);
    await third.kill();
    await wait(1000);
    await Promise.all([third.start(), second.start(), first.start()]);
    await until(() => isWhole('outage'), 'all have caught up', PATIENCE_MS);
    await goesOn(acknowledged);
  });
});

test.serial('who only asks how a group stands finds its next coordinator when the last one has gone', async (t) => {
  t.timeout(5 * PATIENCE_MS);
  const { broker } = await openSite(t, { brokers: addresses().join(), readTimeout: '5s' }, 'onlookers');
  const stands = (): Promise<boolean> => broker.stats('figures').then(() => true, () => false); // prettier-ignore
  t.deepEqual(await broker.publish('figures', [text('x')]), []);
  await until(stands, 'it is told', PATIENCE_MS);
  const { coordinator } = (broker as unknown as { membership: { coordinator: { node: number } } }).membership;
  const server = servers[coordinator.node - 1] as KafkaServer;
  await server.kill();
  try {
    await until(async () => (await partitionsOf('figures')).every(({ leader }) => leader > 0 && leader !== coordinator.node), 'others lead', PATIENCE_MS); // prettier-ignore
    await until(stands, 'it is told again', PATIENCE_MS);
    t.pass();
  } finally {
    await server.start();
    await until(() => isWhole('figures').catch(() => false), 'it has caught up', PATIENCE_MS);
  }
});

test.serial('a partition that moves to another broker is read there, while its old one leads others', async (t) => {
  const admin = servers[0]?.client().admin() as ReturnType<Kafka['admin']>;
  await admin.connect();
  t.teardown(() => admin.disconnect());
  const topics = ['moving', 'resting'].map((topic) => ({
    topic,
    replicaAssignment: [{ partition: 0, replicas: [1] }],
    configEntries: [{ name: 'min.insync.replicas', value: '1' }],
  }));
  await admin.createTopics({ topics, waitForLeaders: false });
  const leader = async (): Promise<unknown> => (await partitionsOf('moving').catch(() => []))[0]?.leader;
  await until(async () => (await leader()) === 1, 'it has a leader');
  const { broker } = await openSite(t, { brokers: addresses().join() }, 'movers');
  const recorder = new Recorder();
  await subscribe(broker, 'resting', new Recorder());
  await subscribe(broker, 'moving', recorder);
  t.deepEqual(await broker.publish('moving', [text('before')]), []);
  await until(() => recorder.texts.includes('before'), 'it is read');
  await admin.alterPartitionReassignments({
    topics: [{ topic: 'moving', partitionAssignment: [{ partition: 0, replicas: [2] }] }],
  });
  await until(async () => (await leader()) === 2, 'it has moved');
  const { broker: other } = await openSite(t, { brokers: addresses().join() }, 'others');
  t.deepEqual(await other.publish('moving', [text('after')]), []);
  await until(() => recorder.texts.includes('after'), 'it is read where it is now');
});
