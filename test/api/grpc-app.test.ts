import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { MEMORY, publish, startDaprd, type Daprd } from '../_support/daprd.ts';
import { startGrpcApp, type GrpcApp, type GrpcAppOptions } from '../_support/grpc-app.ts';
import { freePort } from '../_support/ports.ts';
import { Proxy } from '../_support/proxy.ts';
import { until } from '../_support/until.ts';

const UNIMPLEMENTED = -12;
const UNAVAILABLE = -14;

async function start(t: ExecutionContext, options: GrpcAppOptions, args: string[] = []): Promise<[GrpcApp, Daprd]> {
  const app = await startGrpcApp(options);
  t.teardown(() => app.close());
  return [app, await startDaprd(t, { appPort: app.port, args: ['--app-protocol', 'grpc', ...args] })];
}

test('an event reaches a gRPC app with every attribute, its metadata and its trace', async (t) => {
  const [app, daprd] = await start(t, { subscriptions: [{ topic: 'a' }] });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const headers = { 'content-type': 'application/json', traceparent };
  const url = `${daprd.http}/v1.0/publish/pubsub/a?metadata.key=value`;
  await fetch(url, { method: 'POST', headers, body: '{"n":12345678901234567890}' });
  const [delivery] = await until(() => app.received.length === 1 && app.received, 'it arrives');
  const { event, headers: metadata } = delivery as NonNullable<typeof delivery>;
  t.like(event, {
    source: 'app',
    type: 'com.dapr.event.sent',
    specVersion: '1.0',
    dataContentType: 'application/json',
    topic: 'a',
    pubsubName: 'pubsub',
    path: '',
  });
  t.is(Buffer.from(event.data).toString(), '{"n":12345678901234567890}');
  t.like(event.extensions, { topic: 'a', pubsubname: 'pubsub', traceparent, traceid: traceparent, tracestate: '' });
  t.like(metadata, { pubsubname: 'pubsub', key: 'value', traceparent });
  t.is((metadata['grpc-trace-bin'] as Buffer).length, 29);
});

test('data arrives as the bytes that were published, whatever their type', async (t) => {
  const [app, daprd] = await start(t, { subscriptions: [{ topic: 'd' }] });
  const cases: [string, string | Buffer][] = [
    ['text/plain', 'żółć'],
    ['application/xml', '<a/>'],
    ['application/json', '"text"'],
    ['foo/bar', 'whatever'],
    ['application/octet-stream', Buffer.from([0, 255, 128])],
  ];
  for (const [type, data] of cases) {
    await publish(daprd, 'd', data, { type });
    const { event } = await until(() => app.received.find(({ event: one }) => one.dataContentType === type), type);
    t.deepEqual(Buffer.from(event.data), Buffer.from(data), type);
  }
});

test('with --parity a type that Dapr does not know arrives empty, as from Dapr', async (t) => {
  const [app, daprd] = await start(t, { subscriptions: [{ topic: 'd' }] }, ['--parity']);
  await publish(daprd, 'd', 'whatever', { type: 'foo/bar' });
  await until(() => app.received.length === 1, 'it arrives');
  t.is(app.received[0]?.event.data.length, 0);
});

test('rules choose the path, as it was written', async (t) => {
  const rules = [{ match: 'event.type == "one"', path: 'one' }];
  const [app, daprd] = await start(t, { subscriptions: [{ topic: 'r', routes: { rules, default: '/other' } }] });
  await publish(daprd, 'r', { type: 'one', id: '1' }, { type: 'application/cloudevents+json' });
  await publish(daprd, 'r', '1');
  await until(() => app.received.length === 2, 'both arrive');
  t.deepEqual(
    app.received.map(({ event }) => event.path),
    ['one', '/other'],
  );
});

for (const [name, answer] of [
  ['RETRY', 1],
  ['an unknown status', 7],
  ['UNAVAILABLE', UNAVAILABLE],
  ['UNIMPLEMENTED', UNIMPLEMENTED],
] as [string, number][]) {
  test(`after ${name} the event comes again`, async (t) => {
    const [app, daprd] = await start(t, {
      subscriptions: [{ topic: 'again' }],
      reply: (_, nth) => (nth === 1 ? answer : 0),
    });
    await publish(daprd, 'again', '1');
    await until(() => app.received.length === 2, 'it comes again');
    t.is(app.received[0]?.event.id, app.received[1]?.event.id);
  });
}

test('DROP and failures go to the dead-letter topic', async (t) => {
  const [app, daprd] = await start(t, {
    subscriptions: [{ topic: 'work', deadLetterTopic: 'dead' }, { topic: 'dead' }],
    reply: ({ topic, data }) => (topic === 'dead' ? 0 : Buffer.from(data).toString() === '1' ? 2 : -13),
  });
  await publish(daprd, 'work', '1');
  await publish(daprd, 'work', '2');
  const letters = (): typeof app.received => app.received.filter(({ event }) => event.topic === 'dead');
  await until(() => letters().length === 2, 'both dead letters arrive');
  for (const { event } of letters()) t.is(event.extensions?.['topic'], 'work');
});

test('an app without ListTopicSubscriptions gets its declarative subscriptions', async (t) => {
  const app = await startGrpcApp({});
  t.teardown(() => app.close());
  const declared = MEMORY.replace('Component', 'Subscription').replace(
    /spec:[\s\S]*/,
    'spec:\n  pubsubname: pubsub\n  topic: d\n  route: /d\n',
  );
  const daprd = await startDaprd(t, {
    appPort: app.port,
    args: ['--app-protocol', 'grpc'],
    resources: { 'a.yaml': MEMORY, 'b.yaml': declared },
  });
  await publish(daprd, 'd', '1');
  await until(() => app.received.length === 1, 'it arrives');
  t.is(app.received[0]?.event.path, '/d');
});

test('delivery goes on after the app was away', async (t) => {
  const [app, daprd] = await start(t, { subscriptions: [{ topic: 'back' }], port: await freePort() });
  await publish(daprd, 'back', '1');
  await until(() => app.received.length === 1, 'the first arrives');
  app.close();
  await publish(daprd, 'back', '2');
  await until(() => daprd.log().includes('retriable error returned from app'), 'a delivery fails');
  const second = await startGrpcApp({ port: app.port });
  t.teardown(() => second.close());
  await until(() => second.received.length === 1, 'it comes again');
  t.is(Buffer.from(second.received[0]?.event.data as Buffer).toString(), '2');
});

test('a bulk subscription gets batches; only the entries that failed come again', async (t) => {
  let batch = 0;
  const [app, daprd] = await start(t, {
    subscriptions: [{ topic: 'b', bulkSubscribe: { enabled: true, maxMessagesCount: 3, maxAwaitDurationMs: 100 } }],
    replyBulk: ({ entries }) => ({
      statuses: entries.map(({ entryId }) => ({ entryId, status: batch++ === 0 ? (1 as const) : (0 as const) })),
    }),
  });
  await publish(daprd, 'b', { n: 1 });
  await publish(daprd, 'b', { n: 2 });
  await until(() => app.batches.length === 3, 'the failed one comes again');
  const numbers = app.batches.flatMap(({ entries }) =>
    entries.map(({ event }) => event?.$case === 'cloudEvent' && Buffer.from(event.value.data).toString()),
  );
  t.deepEqual(numbers, ['{"n":1}', '{"n":2}', '{"n":1}']);
  t.like(app.batches[0], { topic: 'b', pubsubName: 'pubsub', type: 'com.dapr.event.sent.bulk' });
});

test('a bulk subscription falls back to the older name of the method', async (t) => {
  const [app, daprd] = await start(t, {
    alphaOnly: true,
    subscriptions: [
      {
        topic: 'b',
        metadata: { rawPayload: 'true' },
        bulkSubscribe: { enabled: true, maxMessagesCount: 0, maxAwaitDurationMs: 50 },
      },
    ],
  });
  await publish(daprd, 'b', Buffer.from([1, 2]), { query: 'metadata.rawPayload=true' });
  await until(() => app.batches.length === 1, 'it arrives');
  const [entry] = app.batches[0]?.entries ?? [];
  t.deepEqual(entry?.event?.$case === 'bytes' && Buffer.from(entry.event.value), Buffer.from([1, 2]));
  t.true(await until(() => daprd.log().includes('falling back to OnBulkTopicEventAlpha1'), 'it is logged'));
});

const bulkSubscribe = { enabled: true, maxMessagesCount: 1, maxAwaitDurationMs: 0 };

test('batches that meet the older name at once are all delivered by it, and none is a dead letter', async (t) => {
  const topics = Array.from({ length: 8 }, (_, i) => `t${i}`);
  const subscriptions = topics.map((topic) => ({ topic, deadLetterTopic: 'dead', bulkSubscribe }));
  const [app, daprd] = await start(t, { alphaOnly: true, subscriptions: [...subscriptions, { topic: 'dead' }] });
  await Promise.all(topics.map((topic) => publish(daprd, topic, '1')));
  await until(() => app.batches.length + app.received.length >= topics.length, 'all arrive');
  t.deepEqual(app.batches.map(({ topic }) => topic).toSorted(), topics);
  t.deepEqual(app.received, []);
});

test('an app that comes back with the other name of the bulk method gets its batches by that', async (t) => {
  const subscriptions = [{ topic: 'b', bulkSubscribe }];
  const [old, daprd] = await start(t, { alphaOnly: true, subscriptions });
  await publish(daprd, 'b', '1');
  await until(() => old.batches.length === 1, 'the older name is called');
  old.close();
  const present = await startGrpcApp({ stableOnly: true, subscriptions, port: old.port });
  t.teardown(() => present.close());
  await publish(daprd, 'b', '2');
  await until(() => present.batches.length > 0, 'the present name is called');
  t.is(present.batches.length, 1);
});

test('an app that is too busy to answer a ping for 21 s keeps its connection and what it has in hand', async (t) => {
  const app = await startGrpcApp({ subscriptions: [{ topic: 'long', deadLetterTopic: 'dead' }, { topic: 'dead' }] });
  t.teardown(() => app.close());
  const proxy = await Proxy.start((end) => t.teardown(end), app.port);
  const daprd = await startDaprd(t, { appPort: proxy.port, args: ['--app-protocol', 'grpc'] });
  proxy.become({ held: ['back'] });
  await publish(daprd, 'long', '1');
  await until(() => app.received.length === 1, 'the app has it');
  await wait(21_000);
  proxy.become({});
  await publish(daprd, 'long', '2');
  await until(() => app.received.length > 1, 'the next one arrives');
  t.deepEqual(
    app.received.map(({ event }) => [event.topic, Buffer.from(event.data).toString()]),
    [
      ['long', '1'],
      ['long', '2'],
    ],
  );
});
