/** Publishing: component names, empty routes, traces, tokens, scopes, the timer of a bulk subscription. */

import test from 'ava';
import { until } from '../_support/until.ts';
import { startParityApp, type Delivered } from './_app.ts';
import { call, declared, memory, startSidecar, type Sidecar } from './_sidecar.ts';

const ZERO = `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00`;
const PARENT = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

test('two events of a bulk subscription that is served one after the other wait for the timer each', async (t) => {
  const app = await startParityApp(t, 'http', undefined);
  const bulkSubscribe = { enabled: true, maxMessagesCount: 100, maxAwaitDurationMs: 500 };
  const subscription = declared('v2alpha1', 's', { topic: 'a', routes: { default: '/a' }, bulkSubscribe });
  const sidecar = await startSidecar(t, {
    appPort: app.port,
    resources: { 'a.yaml': [memory('pubsub'), subscription] },
  });
  const began = performance.now();
  t.deepEqual(await Promise.all([sidecar.publish('a', 1), sidecar.publish('a', 2)]), [204, 204]);
  await until(() => app.batches().length === 2, 'two batches come');
  const [first, second] = app.batches().map(({ at }) => at) as [number, number];
  t.deepEqual(
    app.batches().map(({ size }) => size),
    [1, 1],
  );
  t.true(first - began > 450, `the first after ${first - began} ms`);
  t.true(second - first > 450, `the second ${second - first} ms later`);
});

test('a thousand components, their names in any script, are there, and each takes events', async (t) => {
  const names = [...Array(1000).keys()].map(
    (i) => `n${i}-${String.fromCodePoint(0xe0 + i, 0x3041 + (i % 80), 0x1f600 + (i % 60))}`,
  );
  const sidecar = await startSidecar(t, { resources: { 'all.yaml': names.map((name) => memory(name)) } });
  const codes = await Promise.all(names.map((pubsub) => sidecar.publishGrpc(`t ${pubsub}`, 'x', { pubsub })));
  t.deepEqual(new Set(codes), new Set([0]));
  t.is(((await sidecar.metadata())['components'] as unknown[]).length, 1000);
});

for (const protocol of ['http', 'grpc'] as const) {
  test(`a rule whose match is empty always matches, for an app over ${protocol}`, async (t) => {
    const app = await startParityApp(t, protocol, undefined);
    const routes = { rules: [{ match: '', path: '/a/b' }] };
    const resources = { 'a.yaml': [memory('pubsub'), declared('v2alpha1', 's', { topic: 'a', routes })] };
    const sidecar = await startSidecar(t, { appPort: app.port, protocol, resources });
    t.is(await sidecar.publishGrpc('a', '{"n":1}', { type: 'application/json' }), 0);
    t.like((await app.got(1))[0], { path: '/a/b', data: { n: 1 } });
  });

  test(`a trace arrives as it was sent, none as zeros, at an app over ${protocol}`, async (t) => {
    const app = await startParityApp(t, protocol, [{ topic: 'a', route: '/a' }]);
    const sidecar = await startSidecar(t, { appPort: app.port, protocol });
    t.is(await sidecar.publishGrpc('a', '1', { headers: { traceparent: PARENT } }), 0);
    t.is(await sidecar.publishGrpc('a', '2'), 0);
    const [traced, plain] = (await app.got(2)) as [Delivered, Delivered];
    t.is(traced.headers['traceparent'], PARENT);
    t.is(plain.headers['traceparent'], ZERO);
    if (protocol === 'grpc') t.truthy(traced.headers['grpc-trace-bin']);
  });
}

test('members of a trace that are no texts do no harm', async (t) => {
  const app = await startParityApp(t, 'grpc', [{ topic: 'a', route: '/a' }]);
  const sidecar = await startSidecar(t, { appPort: app.port, protocol: 'grpc' });
  for (const odd of [1, { a: 1 }, true, null, [1]]) {
    const event = { specversion: '1.0', id: '1', source: 's', type: 't', data: 'd', traceid: odd, traceparent: odd };
    const type = 'application/cloudevents+json';
    t.is(await sidecar.publishGrpc('a', JSON.stringify({ ...event, tracestate: odd }), { type }), 0);
  }
  await app.got(5);
  t.is((await fetch(`${sidecar.http}/v1.0/healthz`)).status, 204);
});

test('the app’s token comes from the environment, which may have nothing else', async (t) => {
  const app = await startParityApp(t, 'http', [{ topic: 'a', route: '/a' }]);
  const sidecar = await startSidecar(t, { appPort: app.port, env: { APP_API_TOKEN: 'abc' } });
  t.is(await sidecar.publish('a', 1), 204);
  t.is((await app.got(1))[0]?.headers['dapr-api-token'], 'abc');
  t.is(await sidecar.stop(), 0);
});

/** Numbers that look random and are the same every time. */
function* noise(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32;
    yield state;
  }
}

test('hundreds of subscriptions with names of any kind leave the sidecar healthy', async (t) => {
  const numbers = noise(7);
  const name = (): string =>
    Array.from({ length: 1 + (numbers.next().value % 12) }, () =>
      String.fromCodePoint(0x20 + (numbers.next().value % 0x2000)),
    ).join('');
  const components = [...Array(20).keys()].map((i) => `c${i}${name()}`);
  const subscribe = [...Array(600).keys()].map((i) => ({
    pubsubname: components[i % 20] as string,
    topic: `${name()}${i}`,
    route: name(),
  }));
  const app = await startParityApp(t, 'http', subscribe);
  const resources = { 'all.yaml': components.map((one) => memory(one)) };
  const sidecar = await startSidecar(t, { appPort: app.port, resources });
  t.is((await fetch(`${sidecar.http}/v1.0/healthz`)).status, 204);
  t.is((await sidecar.metadata()).subscriptions?.length, 600);
});

/** Sidecars of three apps on the same files, each with an app over gRPC. */
async function threeApps(t: Parameters<typeof startSidecar>[0], resources: Readonly<Record<string, unknown>>) {
  const start = async (appId: string) => {
    const app = await startParityApp(t, 'grpc', undefined);
    return { app, sidecar: await startSidecar(t, { appId, appPort: app.port, protocol: 'grpc', resources }) };
  };
  return Promise.all([start('app1'), start('app2'), start('app3')]);
}

const codesOf = (sidecar: Sidecar, pubsub: string, topics: readonly string[]): Promise<number[]> =>
  Promise.all(topics.map((topic) => sidecar.publishGrpc(topic, 'x', { pubsub })));
const DENIED = 7;

test('who may publish to which topics is said by app and by topic, and what is not said is allowed', async (t) => {
  const resources = {
    'a.yaml': [
      memory('all'),
      memory('allowed', { allowedTopics: 't0,t1' }),
      memory('publishing', { publishingScopes: 'app1=t0;app2=t0,t1;app3=' }),
      memory('both', { allowedTopics: 't0,t1', publishingScopes: 'app1=t0,t2;app2=' }),
      ...['all', 'allowed'].flatMap((pubsubname) =>
        ['t0', 't1', 't2'].map((topic) =>
          declared('v1alpha1', `${pubsubname}-${topic}`, { pubsubname, topic, route: '/a' }),
        ),
      ),
    ],
  };
  const [one, two, three] = await threeApps(t, resources);
  const topics = ['t0', 't1', 't2'];
  for (const { sidecar } of [one, two, three]) {
    t.deepEqual(await codesOf(sidecar, 'all', topics), [0, 0, 0]);
    t.deepEqual(await codesOf(sidecar, 'allowed', topics), [0, 0, DENIED]);
    const metadata = await sidecar.metadata();
    t.is((metadata['components'] as unknown[]).length, 4);
    t.is(metadata.subscriptions?.length, 6);
  }
  t.deepEqual(await codesOf(one.sidecar, 'publishing', topics), [0, DENIED, DENIED]);
  t.deepEqual(await codesOf(two.sidecar, 'publishing', topics), [0, 0, DENIED]);
  t.deepEqual(await codesOf(three.sidecar, 'publishing', topics), [DENIED, DENIED, DENIED]);
  t.deepEqual(await codesOf(one.sidecar, 'both', topics), [0, DENIED, DENIED]);
  t.deepEqual(await codesOf(two.sidecar, 'both', topics), [DENIED, DENIED, DENIED]);
  t.deepEqual(await codesOf(three.sidecar, 'both', topics), [0, 0, DENIED]);
  for (const { app } of [one, two, three]) {
    const from = async (count: number): Promise<string[]> => (await app.got(count)).map(({ topic }) => topic).sort();
    t.deepEqual(await from(5), ['t0', 't0', 't1', 't1', 't2']);
  }
});

test('who may subscribe to which topics is said by app, and a CloudEvent in binary mode arrives', async (t) => {
  const scopes = { subscriptionScopes: 'app1=t0;app2=t0,t1;app3=' };
  const resources = {
    'a.yaml': [
      memory('pubsub', scopes),
      ...['t0', 't1'].map((topic) => declared('v1alpha1', topic, { topic, route: '/a' })),
    ],
  };
  const [one, two, three] = await threeApps(t, resources);
  for (const { sidecar } of [one, two, three]) {
    t.deepEqual(await codesOf(sidecar, 'pubsub', ['t0', 't1']), [0, 0]);
    t.is((await sidecar.metadata()).subscriptions?.length, 2);
    const metadata = { ce_id: 'x', ce_source: 's', ce_type: 't', ce_specversion: '1.0' };
    t.is(await sidecar.publishGrpc('t0', 'bytes', { type: 'application/octet-stream', metadata }), 0);
  }
  const topics = async (app: typeof one.app, count: number): Promise<string[]> =>
    (await app.got(count)).map(({ topic }) => topic).sort();
  t.deepEqual(await topics(one.app, 2), ['t0', 't0']);
  t.deepEqual(await topics(two.app, 3), ['t0', 't0', 't1']);
  t.is(three.app.received().length, 0);
  const data = one.app.received().map((received) => received.data);
  t.true(data.includes(`base64:${Buffer.from('bytes').toString('base64')}`));
});

test('a component whose group is the namespace delivers a bulk publish as one batch', async (t) => {
  const app = await startParityApp(t, 'grpc', undefined);
  const resources = {
    'a.yaml': [
      memory('pubsub', { consumerID: '{namespace}' }),
      declared('v1alpha1', 's', { topic: 'a', route: '/a', bulkSubscribe: { enabled: true, maxMessagesCount: 1 } }),
    ],
  };
  const env = { NAMESPACE: 'space' };
  const sidecar = await startSidecar(t, { appPort: app.port, protocol: 'grpc', resources, env });
  const entries = [{ entryId: '1', event: Buffer.from('1'), contentType: 'text/plain', metadata: {} }];
  await call(sidecar.client, 'bulkPublishEvent', { pubsubName: 'pubsub', topic: 'a', entries, metadata: {} });
  await until(() => app.batches().length === 1, 'a batch comes');
  t.is(app.batches()[0]?.size, 1);
});
