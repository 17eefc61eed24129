/** The sidecar on Kafka, from outside. */

import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { dapr } from '../cli/command.ts';
import { componentFile, publish, startDaprd, temporaryDirectory, type Daprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { QUICK } from './_site.ts';

const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
test.before(async () => {
  server = await KafkaServer.start((end) => ends.push(end));
});
test.after.always(() => Promise.all(ends.map((end) => end())));

const component = (settings: Record<string, string> = {}): string =>
  componentFile('pubsub.kafka', { ...QUICK, brokers: server.address, ...settings });

test.serial(
  'what the app refused is delivered again, also when sidecar and broker were killed meanwhile',
  async (t) => {
    let isWell = false;
    const handled = new Map<number, number>();
    const app = await startHttpApp({
      subscribe: [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders' }],
      reply: ({ event }) => {
        const seq = (event['data'] as { seq: number }).seq;
        if (isWell) handled.set(seq, (handled.get(seq) ?? 0) + 1);
        return isWell ? 200 : 500;
      },
    });
    t.teardown(() => app.close());
    const options = { appPort: app.port, resources: { 'pubsub.yaml': component() } };
    const first = await startDaprd(t, options);
    for (let seq = 0; seq < 10; seq++) {
      t.is((await publish(first, 'orders', { seq }, { query: `metadata.partitionKey=k${seq}` })).status, 204);
    }
    await until(() => app.received.length >= 10, 'the app refused them');
    await first.stop('SIGKILL');
    await server.kill();
    await server.start();
    isWell = true;
    const second = await startDaprd(t, options);
    await until(() => handled.size === 10, 'the app has them');
    t.is(await second.stop(), 0);
    t.false(second.log().includes('TimeoutNegativeWarning'));
  },
);

test.serial(
  'a dead letter goes to a topic with fewer partitions, with its key and without what was told of its delivery',
  async (t) => {
    await server.createTopic('wide', 8);
    await server.createTopic('letters', 1);
    const app = await startHttpApp({
      subscribe: [
        { pubsubname: 'pubsub', topic: 'wide', route: '/wide', deadLetterTopic: 'letters' },
        { pubsubname: 'pubsub', topic: 'letters', route: '/letters' },
      ],
      reply: ({ path }) => (path === '/wide' ? 500 : 200),
    });
    t.teardown(() => app.close());
    const daprd = await startDaprd(t, { appPort: app.port, resources: { 'pubsub.yaml': component() } });
    const query = 'metadata.partitionNumber=7&metadata.partitionKey=k';
    t.is((await publish(daprd, 'wide', { a: 1 }, { query })).status, 204);
    const letter = await until(() => app.received.find(({ path }) => path === '/letters'), 'the letter arrived');
    t.like(letter.event, { data: { a: 1 }, dlstatus: 500, dltopic: 'wide' });
    t.like(letter.headers, { __topic: 'letters', __partition: '0', __key: 'k' });
  },
);

test.serial('a bulk subscription gets full batches, also of messages that keep an order', async (t) => {
  const bulkSubscribe = { enabled: true, maxMessagesCount: 50, maxAwaitDurationMs: 60_000 };
  const batches: string[][] = [];
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'bulk', route: '/bulk', bulkSubscribe }],
    reply: ({ event }) => {
      const entries = event['entries'] as { entryId: string; event: { data: { seq: number } } }[];
      batches.push(entries.map((entry) => String(entry.event.data.seq)));
      const statuses = entries.map(({ entryId }) => ({ entryId, status: 'SUCCESS' }));
      return { status: 200, body: JSON.stringify({ statuses }) };
    },
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'pubsub.yaml': component() } });
  for (let seq = 0; seq < 150; seq++) t.is((await publish(daprd, 'bulk', { seq })).status, 204);
  await until(() => batches.length === 3, 'three batches');
  t.deepEqual(
    batches.flat(),
    Array.from({ length: 150 }, (_, seq) => String(seq)),
  );
});

/** How often the threads of a process have gone to sleep: on a busy machine that says more than the time they took. */
const naps = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`)
    .map((id) => readFileSync(`/proc/${pid}/task/${id}/status`, 'utf8'))
    .reduce((sum, status) => sum + Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1] ?? 0), 0);

test.serial('an idle sidecar with a subscription hardly ever wakes up', async (t) => {
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'idle', route: '/idle' }] });
  t.teardown(() => app.close());
  const resources = { 'pubsub.yaml': componentFile('pubsub.kafka', { brokers: server.address, authType: 'none' }) };
  const daprd = await startDaprd(t, { appPort: app.port, resources });
  t.is((await publish(daprd, 'idle', {})).status, 204);
  await until(() => app.received.length === 1, 'it arrived');
  // What has started settles down first.
  const perSecond = await until(async () => {
    const [before, began] = [naps(daprd.pid), performance.now()];
    await wait(3000);
    const often = (naps(daprd.pid) - before) / ((performance.now() - began) / 1000);
    return often < 7 && Math.max(often, 0.1);
  }, 'it wakes up less than seven times a second');
  t.log(`${perSecond.toFixed(1)} times a second`);
});

test.serial('a component that cannot be is refused with everything that is wrong', async (t) => {
  const wrong = componentFile('pubsub.kafka', { authType: 'awsiam', ordering: 'perhaps' });
  await t.throwsAsync(startDaprd(t, { resources: { 'pubsub.yaml': wrong } }), {
    message: /ordering wants one of key, partition, none, not 'perhaps'/,
  });
});

test.serial('without a broker the sidecar ends after initTimeout', async (t) => {
  const settings = { ...QUICK, brokers: `127.0.0.1:${await freePort()}` };
  const absent = componentFile('pubsub.kafka', settings, '1s');
  await t.throwsAsync(startDaprd(t, { resources: { 'pubsub.yaml': absent } }), {
    message: /kafka at .* cannot be reached, trying again: .*ECONNREFUSED[^]*init timeout for component pubsub/,
  });
});

test.serial('what both sidecars of a group have parked is delivered again when the command asks both', async (t) => {
  await server.createTopic('parked', 4);
  let isWell = false;
  const handled = new Set<unknown>();
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'parked', route: '/parked' }],
    reply: ({ event }) => {
      if (isWell) handled.add(event['data']);
      return isWell ? 200 : 500;
    },
  });
  t.teardown(() => app.close());
  const once = `kind: Resiliency
metadata: { name: once }
spec:
  policies: { retries: { once: { policy: constant, duration: 10ms, maxRetries: 1 } } }
  targets: { components: { pubsub: { inbound: { retry: once } } } }`;
  const directory = await temporaryDirectory(t);
  const resources = { 'pubsub.yaml': component({ consumerID: 'parkers' }), 'resiliency.yaml': once };
  const options = { appPort: app.port, directory, resources };
  const sidecars = [await startDaprd(t, options), await startDaprd(t, options)];
  const [first] = sidecars as [Daprd];
  let published = 0;
  await until(async () => {
    const query = `metadata.partitionKey=k${published}`;
    t.is((await publish(first, 'parked', published++, { query })).status, 204);
    return sidecars.every((one) => one.log().includes('parked pub/sub event'));
  }, 'both have parked some');
  const shown = async (...words: string[]): Promise<Record<string, number>[]> =>
    JSON.parse((await dapr(t, ['parked', '-o', 'json', ...words], { home: directory })).stdout) as Record<string, number>[]; // prettier-ignore
  await until(async () => (await shown()).every((row) => row['parked'] === published), 'each counts what both have');
  t.like((await shown())[0], { pubsub: 'pubsub', topic: 'parked', group: 'parkers' });
  isWell = true;
  const delivered = (await shown('--deliver')).map((row) => row['delivered'] as number);
  t.is(delivered[0]! + delivered[1]!, published);
  t.true(delivered.every((count) => count > 0));
  await until(() => handled.size === published, 'the app has all of them');
  await until(async () => (await shown()).length === 0, 'nothing is parked');
});
