/** While it runs: streams, retries, hot reload, a blocked shutdown, an app that is away for a while. */

import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Metadata } from '@grpc/grpc-js';
import test from 'ava';
import type { TopicEventRequest } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import type { SubscribeTopicEventsResponseAlpha1 } from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { startParityApp } from './_app.ts';
import { call, declared, memory, startSidecar, type Sidecar } from './_sidecar.ts';

type T = Parameters<typeof startSidecar>[0];

/** A stream on `topic` that acknowledges what comes. */
async function subscribe(t: T, sidecar: Sidecar, topic: string): Promise<TopicEventRequest[]> {
  const events: TopicEventRequest[] = [];
  let isLive = false;
  const stream = sidecar.client.subscribeTopicEventsAlpha1(new Metadata());
  t.teardown(() => stream.cancel());
  stream.on('error', () => undefined);
  stream.on('data', ({ subscribeTopicEventsResponseType: response }: SubscribeTopicEventsResponseAlpha1) => {
    if (response?.$case === 'initialResponse') isLive = true;
    if (response?.$case !== 'eventMessage') return;
    events.push(response.value);
    const value = { id: response.value.id, status: { status: 0 as const } };
    stream.write({ subscribeTopicEventsRequestType: { $case: 'eventProcessed', value } });
  });
  const value = { pubsubName: 'pubsub', topic, metadata: {}, deadLetterTopic: undefined };
  stream.write({ subscribeTopicEventsRequestType: { $case: 'initialRequest', value } });
  await until(() => isLive, 'the stream is live');
  return events;
}

test('a stream gets events one by one, those of a bulk publish too, and in the order they were published', async (t) => {
  const sidecar = await startSidecar(t);
  const events = await subscribe(t, sidecar, 'a');
  t.like((await sidecar.metadata()).subscriptions?.[0], { topic: 'a', type: 'STREAMING', rules: [{ path: '/' }] });
  const entries = [1, 2, 3, 4].map((n) => ({
    entryId: String(n),
    event: Buffer.from(`bulk ${n}`),
    contentType: 'text/plain',
    metadata: {},
  }));
  await call(sidecar.client, 'bulkPublishEvent', { pubsubName: 'pubsub', topic: 'a', entries, metadata: {} });
  for (let n = 0; n < 1000; n++) t.is(await sidecar.publishGrpc('a', `single ${n}`), 0);
  await until(() => events.length === 1004, 'all come');
  const texts = events.map(({ data }) => Buffer.from(data).toString());
  t.deepEqual(texts.slice(0, 4).sort(), ['bulk 1', 'bulk 2', 'bulk 3', 'bulk 4']);
  t.deepEqual(
    texts.slice(4),
    [...Array(1000).keys()].map((n) => `single ${n}`),
  );
});

test('a stream works while the app is not well', async (t) => {
  const app = await startHttpApp({ get: () => 503 });
  t.teardown(() => app.close());
  const args = ['--enable-app-health-check=true', '--app-health-probe-interval=1', '--app-health-threshold=1'];
  const sidecar = await startSidecar(t, { appPort: app.port, args });
  const events = await subscribe(t, sidecar, 'a');
  t.is(await sidecar.publish('a', 'x'), 204);
  await until(() => events.length === 1, 'it comes');
});

const RETRIES = {
  apiVersion: 'dapr.io/v1alpha1',
  kind: 'Resiliency',
  metadata: { name: 'r' },
  spec: {
    policies: { retries: { fast: { policy: 'constant', duration: '10ms', maxRetries: 4 } } },
    targets: { components: { pubsub: { inbound: { retry: 'fast' } } } },
  },
};

for (const [protocol, answer] of [
  ['grpc', 'retry'],
  ['http', 'fail'],
] as const) {
  test(`four retries make five deliveries to an app over ${protocol} that answers ${answer}`, async (t) => {
    const app = await startParityApp(t, protocol, [{ topic: 'a', route: '/a' }], ({ topic }) =>
      topic === 'a' ? answer : 'success',
    );
    const resources = { 'a.yaml': [memory('pubsub'), RETRIES] };
    const sidecar = await startSidecar(t, { appPort: app.port, protocol, resources });
    t.is(await sidecar.publish('a', 'x'), 204);
    await app.got(5);
    await until(() => /parked/.test(sidecar.log()), 'it is given up');
    t.is(app.received().length, 5);
  });
}

test('an app over gRPC that drops its connections and stalls gets its events when it is back', async (t) => {
  const app = await startParityApp(t, 'grpc', [{ topic: 'a', route: '/a' }]);
  const sockets = new Set<Socket>();
  let isStalled = false;
  const proxy = createServer((near) => {
    sockets.add(near);
    near.on('error', () => undefined);
    if (isStalled) return;
    const far = connect(app.port, '127.0.0.1');
    far.on('error', () => near.destroy());
    near.pipe(far).pipe(near);
    near.once('close', () => far.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  t.teardown(() => {
    proxy.close();
    for (const socket of sockets) socket.destroy();
  });
  const sidecar = await startSidecar(t, { appPort: port, protocol: 'grpc' });
  t.is(await sidecar.publishGrpc('a', 'before'), 0);
  await app.got(1);
  await until(async () => (await ingress(sidecar)) === 1, 'its answer arrived');
  isStalled = true;
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  t.is(await sidecar.publishGrpc('a', 'meanwhile'), 0);
  await until(() => sockets.size > 0, 'it dials again');
  isStalled = false;
  for (const socket of sockets) socket.destroy();
  t.is((await app.got(2))[1]?.data, 'meanwhile');
  t.false(sidecar.log().includes('error reading server preface'));
});

const topicsOf = async (sidecar: Sidecar): Promise<string> =>
  ((await sidecar.metadata()).subscriptions ?? []).map(({ topic }) => topic).join();

test('components that are added, replaced, removed and made again take the subscriptions of the app along', async (t) => {
  const app = await startParityApp(t, 'http', [
    { topic: 'a', route: 'a' },
    { topic: 'a', route: 'other', pubsubname: 'pubsub2' },
  ]);
  const sidecar = await startSidecar(t, { appPort: app.port });
  t.is(await sidecar.publish('a', 1), 204);
  await app.got(1);
  await sidecar.write('two.yaml', memory('pubsub2'));
  const serves = async (pubsub: string): Promise<boolean> => (await sidecar.publish('probe', 0, { pubsub })) === 204;
  await until(() => serves('pubsub2'), 'the second is there');
  t.is(await sidecar.publish('a', 2, { pubsub: 'pubsub2' }), 204);
  await app.got(2);
  await sidecar.remove('pubsub.yaml');
  await until(async () => !(await serves('pubsub')), 'the first is gone');
  t.is(await sidecar.publish('a', 3), 404);
  await sidecar.write('again.yaml', memory('pubsub'));
  await until(() => serves('pubsub'), 'it is back');
  t.is(await sidecar.publish('a', 4), 204);
  t.deepEqual(
    (await app.got(3)).map(({ path, data }) => [path, String(data)]),
    [
      ['/a', '1'],
      ['/other', '2'],
      ['/a', '4'],
    ],
  );
});

test('subscriptions in two directories are added, edited and removed; an edited one comes last; a stream stays', async (t) => {
  const app = await startParityApp(t, 'grpc', undefined);
  const { temporaryDirectory } = await import('../_support/daprd.ts');
  const second = await temporaryDirectory(t);
  const { rm, writeFile } = await import('node:fs/promises');
  const args = [`--resources-path=${second}`];
  const sidecar = await startSidecar(t, { appPort: app.port, protocol: 'grpc', args });
  const events = await subscribe(t, sidecar, 'streamed');
  const becomes = (topics: string): Promise<unknown> =>
    until(async () => (await topicsOf(sidecar)) === topics, `subscribed to ${topics}`);
  await sidecar.write('a.yaml', declared('v1alpha1', 'a', { topic: 'a', route: '/a' }));
  await becomes('a,streamed');
  const two = declared('v2alpha1', 'b', { topic: 'b', routes: { default: '/b' } });
  await writeFile(`${second}/b.yaml`, JSON.stringify(two));
  await becomes('a,b,streamed');
  await sidecar.write('a.yaml', declared('v1alpha1', 'a', { topic: 'c', route: '/c' }));
  await becomes('b,c,streamed');
  for (const topic of ['a', 'b', 'c', 'streamed']) t.is(await sidecar.publishGrpc(topic, 'x'), 0);
  t.deepEqual((await app.got(2)).map(({ path }) => path).sort(), ['/b', '/c']);
  await until(() => events.length === 1, 'the stream is served');
  await rm(`${second}/b.yaml`);
  await sidecar.remove('a.yaml');
  await becomes('streamed');
  t.is(await sidecar.publishGrpc('streamed', 'y'), 0);
  await until(() => events.length === 2, 'the stream is still served');
  t.is(app.received().length, 2);
});

const ingress = async (sidecar: Sidecar): Promise<number> => {
  const line = /^dapr_component_pubsub_ingress_count\{.*process_status="success".*\} (\d+)/m.exec(
    await sidecar.metrics(),
  );
  return Number(line?.[1] ?? 0);
};

test('a delivery outlives the file of its subscription, and is counted when the handler is done', async (t) => {
  let finish = (): void => undefined;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const app = await startParityApp(t, 'http', undefined, () => finished.then(() => 'success' as const));
  const file = declared('v2alpha1', 's', { topic: 'a', routes: { default: '/a' } });
  const resources = { 'pubsub.yaml': memory('pubsub'), 's.yaml': file };
  const sidecar = await startSidecar(t, { appPort: app.port, resources });
  t.is(await sidecar.publish('a', 'x'), 204);
  await app.got(1);
  await sidecar.remove('s.yaml');
  await until(async () => (await topicsOf(sidecar)) === '', 'nothing is subscribed');
  t.is(await ingress(sidecar), 0);
  finish();
  await until(async () => (await ingress(sidecar)) === 1, 'it is counted');
});

test('without an app a subscription that is added is listed, and publishing goes on', async (t) => {
  const sidecar = await startSidecar(t);
  await sidecar.write('s.yaml', declared('v2alpha1', 's', { topic: 'a', routes: { default: '/a' } }));
  await until(async () => (await topicsOf(sidecar)) === 'a', 'it is listed');
  t.is(await sidecar.publishGrpc('a', 'x'), 0);
});

for (const kind of ['single', 'bulk'] as const) {
  test(`while a shutdown is blocked the ${kind} delivery in hand ends, none begins, and publishing works`, async (t) => {
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    let status = 200;
    const bulkSubscribe = kind === 'bulk' ? { enabled: true, maxMessagesCount: 1 } : undefined;
    const app = await startHttpApp({
      subscribe: [{ pubsubname: 'pubsub', topic: 'a', route: '/a', bulkSubscribe }],
      get: () => status,
      reply: async ({ event }) => {
        await finished;
        const entries = (event['entries'] ?? []) as { entryId: string }[];
        const statuses = entries.map(({ entryId }) => ({ entryId, status: 'SUCCESS' }));
        return { status: 200, body: JSON.stringify({ statuses }) };
      },
    });
    t.teardown(() => app.close());
    const args = [
      ...['--dapr-block-shutdown-duration=180s', '--enable-app-health-check=true'],
      // Patient, so that a busy machine does not make the app unhealthy.
      ...['--app-health-probe-interval=1', '--app-health-probe-timeout=900', '--app-health-threshold=3'],
    ];
    const sidecar = await startSidecar(t, { appPort: app.port, args });
    await until(() => sidecar.log().includes('app is subscribed to the following topics'), 'it is subscribed');
    const publish = async (): Promise<void> => {
      const entries = [{ entryId: '1', event: Buffer.from('x'), contentType: 'text/plain', metadata: {} }];
      await call(sidecar.client, 'bulkPublishEvent', { pubsubName: 'pubsub', topic: 'a', entries, metadata: {} });
    };
    await publish();
    await until(() => app.received.length === 1, 'one is in hand');
    const exited = sidecar.stop();
    await until(() => sidecar.log().includes('Blocking graceful shutdown for 3m0s'), 'it is blocked');
    await publish();
    finish();
    await until(async () => (await ingress(sidecar)) === 1, 'the one in hand is counted');
    t.regex(await sidecar.metrics(), /^dapr_component_pubsub_egress_bulk_count\{.*success="true".*\} 2/m);
    t.is(app.received.length, 1);
    status = 503;
    t.is(await exited, 0);
    t.true(await until(() => sidecar.log().includes('App reported unhealthy, entering shutdown...'), 'it is logged'));
  });
}
