import test from 'ava';
import { componentFile, MEMORY, publish, startDaprd } from '../_support/daprd.ts';
import { startHttpApp, type Received, type Reply } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const SUBSCRIPTION = (name: string, topic: string, more: string): string => `
apiVersion: dapr.io/v1alpha1
kind: Subscription
metadata:
  name: ${name}
spec:
  topic: ${topic}
  route: /${topic}
  pubsubname: pubsub
${more}`;

const sub = (topic: string, more: object = {}): object => ({
  pubsubname: 'pubsub',
  topic,
  route: `/${topic}`,
  ...more,
});
const idsOf = (list: readonly Received[]): unknown[] => list.map(({ event }) => event['id']);

for (const [name, first] of [
  ['500', 500],
  ['404', 404],
  ['a cut connection', 'cut'],
  ['303', 303],
  ['a RETRY status', { status: 200, body: '{"status":"RETRY"}' }],
  ['an unknown status', { status: 200, body: '{"status":"success"}' }],
] as [string, Reply][]) {
  test(`after ${name} the event comes again, and the same one`, async (t) => {
    const app = await startHttpApp({ subscribe: [sub('again')], reply: (_, nth) => (nth === 1 ? first : 200) });
    t.teardown(() => app.close());
    const daprd = await startDaprd(t, { appPort: app.port });
    await publish(daprd, 'again', { n: 1 });
    await until(() => app.received.length === 2, 'it comes again');
    const [a, b] = app.received as [Received, Received];
    t.deepEqual(a.body, b.body);
    t.true(b.at - a.at > 700 && b.at - a.at < 10_000, `after ${b.at - a.at} ms`);
  });
}

test('pauses between attempts grow', async (t) => {
  const app = await startHttpApp({ subscribe: [sub('grow')], reply: (_, nth) => (nth < 4 ? 500 : 200) });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  await publish(daprd, 'grow', '1');
  await until(() => app.received.length === 4, 'the fourth attempt');
  const pauses = app.received.slice(1).map(({ at }, i) => at - (app.received[i] as Received).at);
  // 1 s, 2 s, 4 s, a fifth less at most
  for (const [nth, pause] of pauses.entries()) t.true(pause > 700 * 2 ** nth, String(pauses));
});

test('success in any form settles the event: nothing comes twice', async (t) => {
  const replies: Reply[] = [
    200,
    201,
    204,
    { status: 200, body: 'OK' },
    { status: 200, body: '{"success": true}' },
    { status: 200, body: '{"status":"SUCCESS"}' },
    { status: 200, body: '{"status":"DROP"}' },
  ];
  const app = await startHttpApp({
    subscribe: [sub('once')],
    reply: ({ event }) => replies[event['data'] as number] as Reply,
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  for (const i of replies.keys()) await publish(daprd, 'once', i);
  await until(() => app.received.length === replies.length, 'all arrive');
  await publish(daprd, 'once', 0);
  await until(() => app.received.length > replies.length, 'a later one arrives');
  t.is(new Set(idsOf(app.received)).size, replies.length + 1);
});

test('a poisoned event does not hold up the others', async (t) => {
  const app = await startHttpApp({
    subscribe: [sub('poison')],
    reply: ({ event }) => (event['data'] === 'bad' ? 500 : 200),
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  await publish(daprd, 'poison', '"bad"');
  for (let i = 0; i < 20; i++) await publish(daprd, 'poison', i);
  const good = (): Received[] => app.received.filter(({ event }) => event['data'] !== 'bad');
  await until(() => good().length === 20, 'the others arrive');
  t.deepEqual(
    good().map(({ event }) => event['data']),
    [...Array(20).keys()],
  );
});

for (const [name, reply] of [
  ['fails', 500],
  ['is unknown to the app', 404],
  ['is dropped by the app', { status: 200, body: '{"status":"DROP"}' }],
] as [string, Reply][]) {
  test(`an event that ${name} reaches the dead-letter topic once, with the reason`, async (t) => {
    const app = await startHttpApp({
      subscribe: [sub('work', { deadLetterTopic: 'dead' }), sub('dead')],
      reply: ({ path }) => (path === '/work' ? reply : 200),
    });
    t.teardown(() => app.close());
    const daprd = await startDaprd(t, { appPort: app.port });
    await publish(daprd, 'work', { n: 12345678901234567890n.toString() });
    const letters = (): Received[] => app.received.filter(({ path }) => path === '/dead');
    const [letter] = await until(() => letters().length > 0 && letters(), 'the dead letter arrives');
    const original = app.received.find(({ path }) => path === '/work') as Received;
    t.like(letter?.event, original.event);
    t.like(letter?.event, { topic: 'work', dlapp: 'app', dlattempts: 1, dltopic: 'work' });
    t.is(typeof letter?.event['dlreason'], 'string');
    await publish(daprd, 'dead', '1');
    await until(() => letters().length === 2, 'a later one arrives');
    t.is(app.received.filter(({ path }) => path === '/work').length, 1);
  });
}

test('a dead letter that cannot be written leaves the event where it is', async (t) => {
  const scoped = componentFile('pubsub.in-memory', { publishingScopes: 'app=work' });
  const app = await startHttpApp({
    subscribe: [sub('work', { deadLetterTopic: 'forbidden' })],
    reply: (_, nth) => (nth === 1 ? 500 : 200),
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'p.yaml': scoped } });
  await publish(daprd, 'work', '1');
  await until(() => app.received.length === 2, 'it comes again');
  t.true(await until(() => daprd.log().includes('error sending message to dead letter'), 'it is logged'));
});

test('an expired event is not delivered, and goes to the dead-letter topic where there is one', async (t) => {
  const app = await startHttpApp({ subscribe: [sub('ttl', { deadLetterTopic: 'late' }), sub('late'), sub('gone')] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  await publish(daprd, 'gone', '1', { query: 'metadata.ttlInSeconds=0' });
  await publish(daprd, 'gone', '2', { query: 'metadata.ttlInSeconds=60' });
  await publish(daprd, 'ttl', '1', { query: 'metadata.ttlInSeconds=0' });
  await until(() => app.received.length === 2, 'the dead letter and the live event arrive');
  t.deepEqual(app.received.map(({ path, event }) => [path, event['data'], event['dlreason']]).sort(), [
    ['/gone', 2, undefined],
    ['/late', 1, 'expired'],
  ]);
});

test('rules choose the path; one that cannot be evaluated does not match', async (t) => {
  const rules = [
    { match: 'event.type == "one"', path: '/one' },
    { match: 'event.data.n > 5', path: 'big' },
    { match: 'event.source.startsWith("urn:x")', path: '/urn' },
  ];
  const app = await startHttpApp({
    subscribe: [
      { pubsubname: 'pubsub', topic: 'routed', routes: { rules, default: '/other?kept=1' } },
      { pubsubname: 'pubsub', topic: 'norule', routes: { rules: rules.slice(0, 1) } },
    ],
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const ce = { type: 'application/cloudevents+json' };
  await publish(daprd, 'routed', { type: 'one', id: '1' }, ce);
  await publish(daprd, 'routed', { n: 7 });
  await publish(daprd, 'routed', { n: 3 });
  await publish(daprd, 'routed', { m: 3 });
  await publish(daprd, 'routed', 'text', { type: 'text/plain' });
  await publish(daprd, 'norule', { n: 7 });
  await publish(daprd, 'norule', { type: 'one', id: '2', source: 'urn:x' }, ce);
  await until(() => app.received.length === 6, 'six arrive');
  t.deepEqual(
    app.received.map(({ path }) => path).sort(),
    ['/big', '/one', '/one', ...Array<string>(3).fill('/other?kept=1')].sort(),
  );
  const told = await until(() => daprd.log().match(/cannot be evaluated for an event/g), 'the log says so');
  t.is(told.length, 1);
});

test('a programmatic subscription takes the place of a declarative one, and scopes are kept', async (t) => {
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'both', route: 'asked' }] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, {
    appPort: app.port,
    resources: {
      'a.yaml': MEMORY,
      'b.yaml': SUBSCRIPTION('both', 'both', ''),
      'c.yaml': SUBSCRIPTION('mine', 'mine', 'scopes:\n- app\n'),
      'd.yaml': SUBSCRIPTION('theirs', 'theirs', 'scopes:\n- other\n'),
    },
  });
  for (const topic of ['both', 'mine', 'theirs']) t.is((await publish(daprd, topic, '1')).status, 204);
  await until(() => app.received.length === 2, 'two arrive');
  t.deepEqual(app.received.map(({ path }) => path).sort(), ['/asked', '/mine']);
});

test('an app that answers /dapr/subscribe with nonsense still gets its declarative subscriptions', async (t) => {
  const resources = { 'a.yaml': MEMORY, 'b.yaml': SUBSCRIPTION('s', 'declared', '') };
  for (const options of [
    { subscribe: '{"a":', subscribeStatus: 200 },
    { subscribe: ['old', 'style'] },
    { subscribe: [], subscribeStatus: 500 },
    {},
  ]) {
    const app = await startHttpApp(options);
    t.teardown(() => app.close());
    const daprd = await startDaprd(t, { appPort: app.port, resources });
    await publish(daprd, 'declared', '1');
    await until(() => app.received.length === 1, 'it arrives');
    t.deepEqual(app.asked, ['GET /dapr/config', 'GET /dapr/subscribe']);
    t.is(await daprd.stop(), 0);
  }
});

test('an invalid rule in a file is fatal at start', async (t) => {
  const bad = SUBSCRIPTION('s', 't', '')
    .replace('v1alpha1', 'v2alpha1')
    .replace('  route: /t', '  routes:\n    rules:\n    - match: event.type ==\n      path: /x');
  const error = await t.throwsAsync(startDaprd(t, { resources: { 'a.yaml': MEMORY, 'b.yaml': bad } }));
  t.regex(
    String(error?.message),
    /Fatal error from runtime: failed to load declarative subscriptions: invalid routing rule/,
  );
});

test('a stop waits for the event in hand and settles it', async (t) => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const app = await startHttpApp({ subscribe: [sub('slow')], reply: async () => held.then(() => 200) });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  await publish(daprd, 'slow', '1');
  await until(() => app.received.length === 1, 'it arrives');
  const stopped = daprd.stop();
  await until(() => daprd.log().includes('Dapr is shutting down'), 'the stop begins');
  release();
  t.is(await stopped, 0);
  t.true(await until(() => daprd.log().includes('Daprd shutdown gracefully'), 'it is logged'));
});

test('an app that never answers costs the grace period, then the exit code is 1', async (t) => {
  const app = await startHttpApp({ subscribe: [sub('hang')], reply: () => new Promise<Reply>(() => undefined) });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, args: ['--dapr-graceful-shutdown-seconds', '1'] });
  await publish(daprd, 'hang', '1');
  await until(() => app.received.length === 1, 'it arrives');
  t.is(await daprd.stop(), 1);
  t.true(await until(() => daprd.log().includes('Graceful shutdown timeout exceeded'), 'it is logged'));
});

test('never more events in hand than the app allows', async (t) => {
  let inHand = 0;
  let most = 0;
  const app = await startHttpApp({
    subscribe: [...Array(8).keys()].map((i) => sub(`c${i}`)),
    reply: async () => {
      most = Math.max(most, ++inHand);
      await new Promise((resolve) => setImmediate(resolve));
      inHand--;
      return 200;
    },
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, args: ['--app-max-concurrency', '2'] });
  await Promise.all(Array.from({ length: 40 }, (_, i) => publish(daprd, `c${i % 8}`, i)));
  await until(() => app.received.length === 40, 'all arrive');
  t.true(most <= 2, `${most} at once`);
});

test("the app's token is sent to the app with everything", async (t) => {
  const app = await startHttpApp({ subscribe: [sub('tok')] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, env: { APP_API_TOKEN: 'for-the-app' } });
  await publish(daprd, 'tok', '1', { query: 'metadata.dapr-api-token=forged' });
  await until(() => app.received.length === 1, 'it arrives');
  t.is(app.received[0]?.headers['dapr-api-token'], 'for-the-app');
});

interface Batch {
  entries: { entryId: string; event: Record<string, unknown>; metadata: object; contentType: string }[];
}
const batchOf = ({ body }: Received): Batch => JSON.parse(body.toString()) as Batch;
const bulk = (topic: string, more: object = {}): object =>
  sub(topic, { bulkSubscribe: { enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 100 }, ...more });
const CONCURRENT = componentFile('pubsub.in-memory', { concurrency: '20' });

test('a bulk subscription gets several events at once; only those that failed come again', async (t) => {
  const app = await startHttpApp({
    subscribe: [bulk('many')],
    reply: (received) => ({
      status: 200,
      body: JSON.stringify({
        statuses: batchOf(received).entries.flatMap(({ entryId, event }) => {
          const n = event['data'] as number;
          if (n === 3) return app.received.length === 1 ? [] : [{ entryId, status: 'SUCCESS' }];
          return [{ entryId, status: n === 2 && app.received.length === 1 ? 'RETRY' : 'SUCCESS' }];
        }),
      }),
    }),
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'p.yaml': CONCURRENT } });
  // In one request, so that a slow machine does not spread them over more than one await.
  const published = await fetch(`${daprd.http}/v1.0/publish/bulk/pubsub/many`, {
    method: 'POST',
    body: JSON.stringify(
      [1, 2, 3, 4].map((event) => ({ entryId: String(event), event, contentType: 'application/json' })),
    ),
  });
  t.is(published.status, 204);
  const numbers = (): unknown[][] =>
    app.received.map((one) =>
      batchOf(one)
        .entries.map(({ event }) => event['data'])
        .sort(),
    );
  await until(() => numbers().slice(1).flat().length === 2, 'two come again');
  t.deepEqual(numbers()[0], [1, 2, 3, 4]);
  t.deepEqual(numbers().slice(1).flat().sort(), [2, 3]);
  t.is(app.received[0]?.headers['content-type'], 'application/json');
  t.like(JSON.parse(String(app.received[0]?.body)), {
    topic: 'many',
    pubsubname: 'pubsub',
    type: 'com.dapr.event.sent.bulk',
    metadata: { pubsubName: 'pubsub' },
  });
  const labels = 'app_id="app",component="pubsub",namespace="",process_status="RETRY",topic="many"';
  const counted = `dapr_component_pubsub_ingress_bulk_event_count{${labels}} 2`;
  const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${daprd.metricsPort}/metrics`)).text();
  await until(async () => (await scrape()).includes(counted), 'those that failed are counted');
});

test('a batch is not longer than it may be, and a raw one carries the bytes', async (t) => {
  const bulkSubscribe = { enabled: true, maxMessagesCount: 2, maxAwaitDurationMs: 60_000 };
  const app = await startHttpApp({
    subscribe: [bulk('raw', { metadata: { rawPayload: 'true' }, bulkSubscribe })],
    reply: (received) => ({
      status: 200,
      body: JSON.stringify({
        statuses: batchOf(received).entries.map(({ entryId }) => ({ entryId, status: 'SUCCESS' })),
      }),
    }),
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'p.yaml': CONCURRENT } });
  await Promise.all(['a', 'b', 'c', 'd'].map((n) => publish(daprd, 'raw', n, { query: 'metadata.rawPayload=true' })));
  await until(() => app.received.length === 2, 'two batches arrive, without waiting for more');
  for (const one of app.received) t.is(batchOf(one).entries.length, 2);
  t.like(batchOf(app.received[0] as Received).entries[0], { contentType: 'application/octet-stream' });
  t.regex(String(batchOf(app.received[0] as Received).entries[0]?.event), /^[A-Za-z0-9+/]+=*$/);
});
