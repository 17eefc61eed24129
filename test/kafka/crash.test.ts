/** Sidecars and brokers that are killed, members that come and go; an auditor compares what was said with what was done. */

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { readNote } from '../../src/brokers/kafka/note.ts';
import { publish, Recorder, retry, subscribe, SUCCESS, text, texts, textOf, uncounted } from '../conformance/bench.ts';
import { BrokerProcess } from '../conformance/processes.ts';
import { temporaryDirectory } from '../_support/daprd.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { audit } from './_audit.ts';
import { MORTAL, openSite, QUICK } from './_site.ts';

const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
test.before(async () => {
  server = await KafkaServer.start((end) => ends.push(end), { properties: { 'num.partitions': '4' } });
});
test.after.always(() => Promise.all(ends.map((end) => end())));

const linesOf = (directory: string, name: string): string[] => {
  const path = join(directory, name);
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
};

test.serial(
  'twenty kills of a sidecar and three of the broker under load lose nothing and keep the order of keys',
  async (t) => {
    t.timeout(900_000);
    const settings = { ...MORTAL, brokers: server.address, readTimeout: '3s' };
    const directory = await temporaryDirectory(t);
    const script = join(import.meta.dirname, '_audited-process.ts');
    for (let round = 0; round < 20; round++) {
      const audited = { settings, topic: 'storm', directory, prefix: `r${round}`, perSecond: 600, keys: 20 };
      const child = fork(script, [JSON.stringify(audited)]);
      const exited = once(child, 'exit');
      t.teardown(() => void child.kill('SIGKILL'));
      const grows = (name: string, by: number): Promise<unknown> => {
        const before = linesOf(directory, name).length;
        return until(() => linesOf(directory, name).length >= before + by, `more is ${name}`);
      };
      await grows('acknowledged', 50);
      if (round % 3 !== 2) await grows('handled', 20 + Math.random() * 300);
      if (round % 7 === 6) {
        await server.kill();
        await server.start();
        await grows('acknowledged', 50);
      }
      child.kill('SIGKILL');
      await exited;
    }
    const { broker } = await openSite(t, settings);
    const recorder = new Recorder();
    await subscribe(broker, 'storm', recorder);
    await until(async () => {
    const { lag, pending } = await broker.stats('storm');
    return lag + pending === 0;
  }, 'everything is settled', 90_000); // prettier-ignore
    const handled = [...linesOf(directory, 'handled'), ...recorder.texts];
    const acknowledged = linesOf(directory, 'acknowledged');
    audit(t, { tried: linesOf(directory, 'tried'), acknowledged, handled });
    t.true(acknowledged.length > 20 * 50);
  },
);

test.serial(
  'members that join and leave while retries are pending lose nothing and keep the order of keys',
  async (t) => {
    t.timeout(300_000);
    const settings = { brokers: server.address };
    const { broker: publisher } = await openSite(t, settings, 'publisher');
    const [tried, acknowledged, handled]: [string[], string[], string[]] = [[], [], []];
    let running = true;
    const publishing = (async () => {
      for (let next = 0; running; next++) {
        const key = `key-${next % 30}`;
        const content = `${key} ${next}`;
        tried.push(content);
        void publisher.publish('coming', [{ ...text(content), metadata: { partitionKey: key } }]).then((failures) => {
          if (failures.length === 0) acknowledged.push(content);
        });
        await wait(2);
      }
    })();
    const member = async (): Promise<() => Promise<void>> => {
      const { broker } = await openSite(t, settings);
      const recorder = new Recorder(async (message) => {
        if (Math.random() < 0.1) return retry(100 + Math.random() * 200);
        await wait(Math.random() * 5);
        handled.push(textOf(message));
        return SUCCESS;
      });
      const subscription = await subscribe(broker, 'coming', recorder);
      return async () => {
        await subscription.close(AbortSignal.timeout(Math.round(Math.random() * 50)));
        await broker.close();
      };
    };
    const keeper = await member();
    for (let round = 0; round < 6; round++) {
      const second = await member();
      await wait(200);
      const third = await member();
      await wait(300);
      await second();
      await wait(200);
      await third();
    }
    running = false;
    await publishing;
    await until(async () => {
    const { lag, pending } = await (await openSite(t, settings)).broker.stats('coming');
    return lag + pending === 0 && acknowledged.length === tried.length;
  }, 'everything is settled', 90_000); // prettier-ignore
    await keeper();
    audit(t, { tried, acknowledged, handled });
    t.true(acknowledged.length > 500);
  },
);

test.serial('a broker that hangs fails publishes in time, and afterwards everything goes on', async (t) => {
  const settings = { brokers: server.address, readTimeout: '3s', producerRetryMax: '0' };
  const [{ broker, lines }, { broker: publisher }] = [
    await openSite(t, settings),
    await openSite(t, settings, 'other'),
  ];
  const recorder = new Recorder();
  await subscribe(broker, 'hanging', recorder);
  await publish(publisher, 'hanging', 'before');
  await until(() => recorder.messages.length === 1, 'it arrived');
  server.signal('SIGSTOP');
  await t.throwsAsync(publish(publisher, 'hanging', 'lost or not'), { message: /no answer to Produce within 3000 ms/ });
  await t.throwsAsync(broker.ping());
  await wait(2000);
  server.signal('SIGCONT');
  await until(() => publish(publisher, 'hanging', 'after').then(() => true, () => false), 'it can be published again'); // prettier-ignore
  await until(() => recorder.texts.includes('after'), 'it arrived');
  const different = new Set(recorder.texts.filter((content) => content !== 'lost or not'));
  t.deepEqual([...different], ['before', 'after']);
  t.true(lines.length < 20, lines.join('\n'));
});

test.serial('what a killed process had in hand its sibling takes when the session is over', async (t) => {
  const settings = { ...QUICK, brokers: server.address, ordering: 'none' };
  const { broker } = await openSite(t, settings);
  const victim = await BrokerProcess.start({ type: 'pubsub.kafka', settings, consumerId: 'team', home: '' });
  t.teardown(() => victim.kill());
  await victim.subscribe('victim', { hold: true });
  await publish(broker, 'victim', ...texts('m', 5));
  await victim.until('delivered', 5);
  const recorder = new Recorder();
  const subscribing = subscribe(broker, 'victim', recorder);
  await victim.kill();
  await subscribing;
  await until(() => recorder.messages.length === 5, 'the sibling handles them');
  t.deepEqual(recorder.texts.toSorted(), texts('m', 5));
});

test.serial('what waits although the app never saw it has cost no attempt when its partition moves', async (t) => {
  const settings = { brokers: server.address, ordering: 'none' };
  const [first, second] = [await openSite(t, settings, 'moving'), await openSite(t, settings, 'moving')];
  const before = new Recorder(() => uncounted(3000));
  await subscribe(first.broker, 'moving', before);
  const everywhere = ['0', '1', '2', '3'].map((partitionNumber) => ({ ...text('x'), metadata: { partitionNumber } }));
  await first.broker.publish('moving', everywhere);
  await until(() => before.messages.length >= 4, 'all wait');
  const after = new Recorder();
  await subscribe(second.broker, 'moving', after);
  await until(() => after.messages.length > 0, 'some have moved');
  await first.broker.close();
  await until(() => after.messages.length === 4, 'all have moved');
  t.true([...before.messages, ...after.messages].every(({ attempt }) => attempt === 1));
});

test.serial('what waits in a killed process although the app never saw it has cost no attempt', async (t) => {
  const settings = { ...MORTAL, brokers: server.address, ordering: 'none' };
  const { broker } = await openSite(t, settings, 'unseen');
  const victim = await BrokerProcess.start({ type: 'pubsub.kafka', settings, consumerId: 'unseen', home: '' });
  t.teardown(() => victim.kill());
  await victim.subscribe('unseen', { hold: false, retryMs: 8000, uncounted: true });
  await publish(broker, 'unseen', ...texts('m', 5));
  await victim.until('delivered', 5);
  const admin = server.client().admin();
  await admin.connect();
  t.teardown(() => admin.disconnect());
  const uncountedOnes = async (): Promise<number> => {
    const [topic] = await admin.fetchOffsets({ groupId: 'unseen', topics: ['unseen'] });
    const notes = topic?.partitions.map(({ offset, metadata }) => readNote(Number(offset), metadata)) ?? [];
    return notes.flatMap((note) => [...(note?.open.values() ?? [])]).filter(({ attempt }) => attempt === 0).length;
  };
  await until(async () => (await uncountedOnes()) === 5, 'that is committed');
  await victim.kill();
  const recorder = new Recorder();
  await subscribe(broker, 'unseen', recorder);
  await until(() => recorder.messages.length === 5, 'the sibling handles them');
  t.true(recorder.messages.every(({ attempt }) => attempt === 1));
});

test.serial('a process that hangs loses its partitions, and is told so when it goes on', async (t) => {
  const settings = { ...QUICK, brokers: server.address };
  const { broker } = await openSite(t, settings);
  const hanging = await BrokerProcess.start({ type: 'pubsub.kafka', settings, consumerId: 'team', home: '' });
  t.teardown(() => hanging.kill());
  await hanging.subscribe('hang', { hold: true });
  await publish(broker, 'hang', 'x');
  await hanging.until('delivered');
  hanging.signal('SIGSTOP');
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const recorder = new Recorder(() => gate.then(() => retry(Infinity)));
  await subscribe(broker, 'hang', recorder);
  await until(() => recorder.messages.length === 1, 'the sibling has it');
  hanging.signal('SIGCONT');
  await hanging.until('aborted');
  t.deepEqual(hanging.texts('aborted'), ['x']);
  open();
  await hanging.kill();
  await until(async () => (await broker.stats('hang')).parked === 1, 'the outcome of the sibling counts');
});

test.serial('a member that joins again without a change of the group keeps what is in hand', async (t) => {
  await server.createTopic('again', 4);
  const settings = { brokers: server.address, clientConnectionTopicMetadataRefreshInterval: '300ms' };
  const { broker: leader } = await openSite(t, { brokers: server.address }, 'again');
  await subscribe(leader, 'again', new Recorder());
  const { broker } = await openSite(t, settings, 'again');
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  let isAborted = false;
  const recorder = new Recorder((_, signal) => {
    signal.addEventListener('abort', () => (isAborted = true));
    return gate.then(() => SUCCESS);
  });
  await subscribe(broker, 'again', recorder);
  await broker.publish('again', ['0', '1', '2', '3'].map((partitionNumber) => ({ ...text('x'), metadata: { partitionNumber } }))); // prettier-ignore
  await until(() => recorder.messages.length > 0, 'it has something in hand');
  const count = recorder.messages.length;
  // It sees that there are more partitions and joins again; the leader, which would share out anew, does not see it yet.
  const admin = server.client().admin();
  await admin.connect();
  await admin.createPartitions({ topicPartitions: [{ topic: 'again', count: 5 }] });
  await admin.disconnect();
  const { consumer } = broker as unknown as { consumer: { entries: Map<string, { partitions: number }> } };
  await until(() => consumer.entries.get('again')?.partitions === 5, 'it has joined again');
  open();
  await until(async () => (await leader.stats('again')).pending === 0, 'all is settled');
  t.false(isAborted);
  t.is(recorder.messages.length, count);
});

test.serial('partitions that only the leader has seen are read by whoever gets them', async (t) => {
  await server.createTopic('seen', 2);
  const settings = { brokers: server.address, clientConnectionTopicMetadataRefreshInterval: '300ms' };
  const [recorder, other] = [new Recorder(), new Recorder()];
  const { broker: leader } = await openSite(t, settings, 'seen');
  await subscribe(leader, 'seen', recorder);
  const { broker } = await openSite(t, { brokers: server.address }, 'seen');
  await subscribe(broker, 'seen', other);
  const admin = server.client().admin();
  await admin.connect();
  await admin.createPartitions({ topicPartitions: [{ topic: 'seen', count: 8 }] });
  await admin.disconnect();
  const all = Array.from({ length: 8 }, (_, id) => ({ ...text(`${id}`), metadata: { partitionNumber: `${id}` } }));
  await until(async () => (await leader.publish('seen', all)).length === 0, 'they can be written to');
  const arrived = (): Set<string> => new Set([...recorder.texts, ...other.texts]);
  await until(() => arrived().size === 8, 'all arrive').catch(() => undefined);
  t.deepEqual([...arrived()].toSorted(), all.map(textOf));
  t.true(new Set(other.texts).size > 1, 'who has not seen them has some');
});
