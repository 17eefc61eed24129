/** Cases that need a broker in a process of its own, which is told what was acknowledged: a pluggable component. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { temporaryDirectory } from '../_support/daprd.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { Plugin, type PluginOptions } from '../_support/plugin.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { startParityApp } from './_app.ts';
import { invoke } from './_echo.ts';
import { declared, memory, startSidecar, type Sidecar, type SidecarOptions } from './_sidecar.ts';

const component = (name: string): object => ({ ...memory(name), spec: { type: 'pubsub.outside', version: 'v1' } });
const PUBSUB = { 'pubsub.yaml': component('pubsub') };
const DECLARED = { 's.yaml': declared('v2alpha1', 's', { topic: 'a', routes: { default: '/a' } }) };

/** A component on a socket of its own, and sidecars that find it. */
async function site(t: ExecutionContext, options: Partial<PluginOptions> = {}) {
  const directory = await temporaryDirectory(t);
  const sockets = join(directory, 'sockets');
  await mkdir(sockets);
  const plugin = await Plugin.start({ socket: join(sockets, 'outside.sock'), ...options });
  t.teardown(() => plugin.stop());
  const env = { HOME: directory, DAPR_COMPONENTS_SOCKETS_FOLDER: sockets };
  const sidecar = (more: SidecarOptions): Promise<Sidecar> => startSidecar(t, { resources: PUBSUB, env, ...more });
  return { plugin, sidecar };
}

const EVENT = {
  ...{ specversion: '1.0', id: 'b959', source: 'elsewhere', type: 'com.dapr.event.sent', pubsubname: 'pubsub' },
  ...{ datacontenttype: 'application/json', data: { n: 1 } },
};
const message = (id: string, more: object = {}): object => ({ id, data: Buffer.from(JSON.stringify(EVENT)), ...more });

for (const protocol of ['http', 'grpc'] as const) {
  test(`a message that has a content-length of its own and another topic reaches an app over ${protocol}`, async (t) => {
    const { plugin, sidecar: launch } = await site(t);
    const app = await startParityApp(t, protocol, undefined);
    const file = declared('v1alpha1', 's', { topic: 'a', route: '/abc' });
    const sidecar = await launch({ appPort: app.port, protocol, resources: { ...PUBSUB, 's.yaml': file } });
    t.is((await sidecar.metadata()).subscriptions?.length, 1);
    await until(() => plugin.of('pull').length === 1, 'it is pulled');
    plugin.push('a', message('foo', { topicName: 'other', metadata: { 'content-length': '123' } }));
    const [received] = await app.got(1);
    t.like(received, { path: '/abc', data: { n: 1 } });
    t.not(received?.headers['content-length'], '123');
    await until(() => plugin.of('ack').length > 0, 'it is acknowledged');
    t.deepEqual(plugin.of('ack'), [{ kind: 'ack', id: 'foo', error: undefined }]);
  });
}

test('a bulk subscription on a component that wants its messages handled at once does not wait for company', async (t) => {
  const { plugin, sidecar: launch } = await site(t, { features: ['BULK_SUBSCRIBE_IMMEDIATE'] });
  const app = await startParityApp(t, 'http', undefined);
  const bulkSubscribe = { enabled: true, maxMessagesCount: 100, maxAwaitDurationMs: 600_000 };
  const file = declared('v2alpha1', 's', { topic: 'a', routes: { default: '/a' }, bulkSubscribe });
  const sidecar = await launch({ appPort: app.port, resources: { ...PUBSUB, 's.yaml': file } });
  t.like(((await sidecar.metadata())['components'] as object[])[0], { capabilities: ['BULK_SUBSCRIBE_IMMEDIATE'] });
  await until(() => plugin.of('pull').length === 1, 'it is pulled');
  for (const id of ['one', 'two', 'three']) plugin.push('a', message(id));
  const sum = (): number => app.batches().reduce((all, { size }) => all + size, 0);
  await until(() => sum() >= 3, 'all come');
});

test('a message that is pushed into a bulk subscription with a content-length of its own comes in a batch', async (t) => {
  const { plugin, sidecar: launch } = await site(t);
  const app = await startParityApp(t, 'http', undefined);
  const bulkSubscribe = { enabled: true, maxMessagesCount: 100, maxAwaitDurationMs: 40 };
  const file = declared('v1alpha1', 's', { topic: 'a', route: '/a', bulkSubscribe });
  await launch({ appPort: app.port, resources: { ...PUBSUB, 's.yaml': file } });
  await until(() => plugin.of('pull').length === 1, 'it is pulled');
  plugin.push('a', message('foo', { metadata: { 'content-length': '123' } }));
  const batch = await until(() => app.batches()[0], 'it comes');
  t.like(batch, { path: '/a', size: 1 });
});

test('an entry of a raw batch is bytes, whatever its component calls it; an answer for no entry is told of', async (t) => {
  const { plugin, sidecar: launch } = await site(t);
  const statuses = [{ entryId: 'of nobody', status: 'SUCCESS' }];
  const app = await startHttpApp({ reply: () => ({ status: 200, body: JSON.stringify({ statuses }) }) });
  t.teardown(() => app.close());
  const bulkSubscribe = { enabled: true, maxMessagesCount: 100, maxAwaitDurationMs: 40 };
  const file = declared('v1alpha1', 's', { topic: 'a', route: '/a', bulkSubscribe, metadata: { rawPayload: 'true' } });
  const sidecar = await launch({ appPort: app.port, resources: { ...PUBSUB, 's.yaml': file } });
  await until(() => plugin.of('pull').length === 1, 'it is pulled');
  plugin.push('a', message('plain'));
  plugin.push('a', message('typed', { contentType: 'text/x-mine' }));
  const types = (): unknown[] =>
    app.received.flatMap(({ event }) => (event['entries'] as { contentType: string }[]).map((one) => one.contentType));
  await until(() => types().length >= 2, 'both come');
  t.deepEqual([...new Set(types())], ['application/octet-stream']);
  const told = 'level=warning msg="Invalid entry id received from app while processing pub/sub event of nobody"';
  await until(() => sidecar.log().includes(told), 'it is told');
});

test('an event that is retried for a component whose stream ended is retried no more', async (t) => {
  const { plugin, sidecar: launch } = await site(t);
  const app = await startParityApp(t, 'http', [{ topic: 'a', route: '/a' }], () => 'fail');
  const retries = { often: { policy: 'constant', duration: '100ms', maxRetries: 600 } };
  const targets = { components: { pubsub: { inbound: { retry: 'often' } } } };
  const resiliency = { apiVersion: 'dapr.io/v1alpha1', kind: 'Resiliency', metadata: { name: 'r' } };
  const document = { ...resiliency, spec: { policies: { retries }, targets } };
  await launch({ appPort: app.port, resources: { ...PUBSUB, 'r.yaml': document } });
  await until(() => plugin.of('pull').length === 1, 'it is pulled');
  plugin.push('a', message('poison'));
  await app.got(2);
  plugin.breakStreams();
  await until(() => plugin.of('pull').length === 2, 'it is pulled again');
  plugin.push('a', message('next', { data: Buffer.from(JSON.stringify({ ...EVENT, data: 'next' })) }));
  const next = (): readonly number[] => app.received().flatMap(({ data }, i) => (data === 'next' ? [i] : []));
  await until(() => next().length >= 3, 'the next one is tried');
  const [first = 0] = next();
  t.true(
    app
      .received()
      .slice(first)
      .every(({ data }) => data === 'next'),
  );
});

test('a publish is tried again by the code of the component where the policy names codes, else by any', async (t) => {
  const { plugin, sidecar: launch } = await site(t, {
    refuse: (topic) => (topic === 'away' ? status.UNAVAILABLE : status.FAILED_PRECONDITION),
  });
  const retry = { policy: 'constant', duration: '10ms', maxRetries: 3 };
  const outbound = (name: string): object => ({ outbound: { retry: name } });
  const resiliency = {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'Resiliency',
    metadata: { name: 'r' },
    spec: {
      policies: { retries: { some: { ...retry, matching: { gRPCStatusCodes: '14' } }, any: retry } },
      targets: { components: { some: outbound('some'), any: outbound('any') } },
    },
  };
  const sidecar = await launch({ resources: { 'a.yaml': [component('some'), component('any'), resiliency] } });
  for (const [pubsub, topic, wanted] of [
    ['some', 'away', 4],
    ['some', 'wrong', 1],
    ['any', 'wrong-too', 4],
  ] as const) {
    t.is(await sidecar.publishGrpc(topic, '{"n":1}', { pubsub }), status.INTERNAL);
    const tries = plugin.events.filter((event) => event.kind === 'publish' && event.topic === topic);
    t.is(tries.length, wanted, topic);
  }
});

for (const [protocol, kind] of [
  ['http', 'declared'],
  ['grpc', 'declared'],
  ['http', 'programmatic'],
  ['grpc', 'programmatic'],
] as const) {
  test(`a stop acknowledges what an app over ${protocol} has in hand of a ${kind} subscription, and nothing else`, async (t) => {
    const { plugin, sidecar: launch } = await site(t);
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const subscribe = kind === 'programmatic' ? [{ topic: 'a', route: '/a' }] : undefined;
    const app = await startParityApp(t, protocol, subscribe, () => released.then(() => 'success' as const));
    const resources = { ...PUBSUB, ...(kind === 'declared' && DECLARED) };
    const sidecar = await launch({ appPort: app.port, protocol, resources });
    await until(() => plugin.of('pull').length === 1, 'it is pulled');
    plugin.push('a', message('first'));
    await app.got(1);
    const exited = sidecar.stop();
    await until(() => plugin.of('pause').length === 1, 'nothing more is asked for');
    plugin.push('a', message('second'));
    t.deepEqual(plugin.of('ack'), []);
    release();
    t.is(await exited, 0);
    await until(() => plugin.of('ack').length > 0, 'the first is acknowledged');
    t.deepEqual(plugin.of('ack'), [{ kind: 'ack', id: 'first', error: undefined }]);
    t.is(app.received().length, 1);
  });
}

const BLOCKED = [
  ...['--dapr-block-shutdown-duration=180s', '--enable-app-health-check=true'],
  // Patient, so that a busy machine does not make the app unhealthy.
  ...['--app-health-probe-interval=1', '--app-health-probe-timeout=900', '--app-health-threshold=3'],
];

for (const [name, lacks] of [
  ['is paused', []],
  ['cannot be paused', ['Pause']],
] as const) {
  test(`while a shutdown is blocked a component that ${name} hears of the event in hand, and the app is still called`, async (t) => {
    const { plugin, sidecar: launch } = await site(t, { lacks });
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    let well = true;
    const app = await startGrpcApp({
      healthy: () => well,
      replyLater: () => released.then(() => 0),
      invoke: () => ({ data: undefined, contentType: '' }),
    });
    t.teardown(() => app.close());
    const resources = { ...PUBSUB, ...DECLARED };
    const sidecar = await launch({ appPort: app.port, protocol: 'grpc', resources, args: BLOCKED });
    await until(() => plugin.of('pull').length === 1, 'it is pulled');
    plugin.push('a', message('first'));
    await until(() => app.received.length === 1, 'it is in hand');
    const exited = sidecar.stop();
    await until(() => sidecar.log().includes('Blocking graceful shutdown for 3m0s'), 'it is blocked');
    if (lacks.length === 0) await until(() => plugin.of('pause').length === 1, 'nothing more is asked for');
    plugin.push('a', message('second'));
    t.deepEqual(plugin.of('ack'), []);
    release();
    await until(() => plugin.of('ack').length > 0, 'it is acknowledged');
    await t.notThrowsAsync(invoke(sidecar, 'foo'));
    well = false;
    t.is(await exited, 0);
    t.deepEqual(plugin.of('ack'), [{ kind: 'ack', id: 'first', error: undefined }]);
    t.is(app.received.length, 1);
  });
}
