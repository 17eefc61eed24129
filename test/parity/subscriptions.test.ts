/** What is delivered where: subscriptions that the app lists, that files declare, and both for one topic. */

import test from 'ava';
import { until } from '../_support/until.ts';
import { startParityApp, type Protocol, type Subscribed } from './_app.ts';
import { call, declared, memory, startSidecar, type Sidecar } from './_sidecar.ts';

const PROTOCOLS: readonly Protocol[] = ['http', 'grpc'];

/** How the same subscriptions reach the sidecar. */
const WAYS = ['the app', 'files of v1alpha1', 'files of v2alpha1'] as const;
type Way = (typeof WAYS)[number];

async function stage(
  t: Parameters<typeof startSidecar>[0],
  protocol: Protocol,
  way: Way,
  subscriptions: readonly Subscribed[],
  answer?: Parameters<typeof startParityApp>[3],
) {
  const app = await startParityApp(t, protocol, way === 'the app' ? subscriptions : undefined, answer);
  const files = subscriptions.map((one, i) => {
    const { route, routes, ...spec } = one;
    return way === 'files of v1alpha1'
      ? declared('v1alpha1', `s${i}`, { ...spec, route: route ?? routes?.default })
      : declared('v2alpha1', `s${i}`, { ...spec, routes: routes ?? { default: route } });
  });
  const resources = { 'a.yaml': [memory('pubsub'), ...(way === 'the app' ? [] : files)] };
  return { app, sidecar: await startSidecar(t, { appPort: app.port, protocol, resources }) };
}

const bulkPublish = (sidecar: Sidecar, topic: string, count: number): Promise<object> =>
  call(sidecar.client, 'bulkPublishEvent', {
    pubsubName: 'pubsub',
    topic,
    metadata: {},
    entries: [...Array(count).keys()].map((i) => ({
      entryId: String(i),
      event: Buffer.from(`{"n":${i}}`),
      contentType: 'application/json',
      metadata: {},
    })),
  });

for (const way of WAYS) {
  for (const protocol of PROTOCOLS) {
    const where = `subscribed by ${way}, for an app over ${protocol}`;

    test(`JSON, a text, nothing and an unknown type arrive as what they are, ${where}`, async (t) => {
      const { app, sidecar } = await stage(t, protocol, way, [{ topic: 'a', route: '/a' }]);
      t.is(await sidecar.publish('a', { n: 1 }, { type: 'application/json' }), 204);
      t.is(await sidecar.publish('a', 'text', { type: 'text/plain' }), 204);
      t.is(await sidecar.publish('a', 'odd', { type: 'foo/bar' }), 204);
      t.is(await sidecar.publishGrpc('a', 'no type'), 0);
      const events = await app.got(4);
      t.deepEqual(
        events.map(({ data }) => data),
        [{ n: 1 }, 'text', 'odd', 'no type'],
      );
      t.deepEqual([...new Set(events.map(({ path, topic }) => `${path} ${topic}`))], ['/a a']);
      const { event } = events[0] as (typeof events)[number];
      t.is(event['type'], 'com.dapr.event.sent');
      t.is(event['source'], 'app');
      t.is(event['specversion'] ?? event['specVersion'], '1.0');
      t.is(event['pubsubname'] ?? event['pubsubName'], 'pubsub');
      const type = way === 'the app' ? 'PROGRAMMATIC' : 'DECLARATIVE';
      t.like((await sidecar.metadata()).subscriptions?.[0], { topic: 'a', type, rules: [{ path: '/a' }] });
    });

    test(`a bulk publish comes in batches where that was asked for, else one by one, ${where}`, async (t) => {
      const { app, sidecar } = await stage(t, protocol, way, [
        { topic: 'bulk', route: '/bulk', bulkSubscribe: { enabled: true, maxMessagesCount: 1 } },
        { topic: 'plain', route: '/plain' },
      ]);
      await bulkPublish(sidecar, 'bulk', 4);
      await bulkPublish(sidecar, 'plain', 4);
      const events = await app.got(4);
      t.deepEqual(new Set(events.map(({ path }) => path)), new Set(['/plain']));
      await until(() => app.batches().reduce((sum, { size }) => sum + size, 0) === 4, 'all four come in batches');
      t.deepEqual(new Set(app.batches().map(({ path }) => path)), new Set(['/bulk']));
      const topics = (await sidecar.metadata()).subscriptions?.map(({ topic }) => topic);
      t.deepEqual(topics, ['bulk', 'plain']);
    });

    test(`what fails is at once in the dead-letter topic, with the topic it came from, ${where}`, async (t) => {
      const { app, sidecar } = await stage(
        t,
        protocol,
        way,
        [
          { topic: 'a', route: '/a', deadLetterTopic: 'mydead' },
          { topic: 'mydead', route: '/dead' },
        ],
        ({ path }) => (path === '/a' ? 'fail' : 'success'),
      );
      t.is(await sidecar.publish('a', { n: 1 }, { type: 'application/json' }), 204);
      const [first, dead] = await app.got(2);
      // A retry before would come as a second delivery.
      t.is(app.received().filter(({ path }) => path === '/a').length, 1);
      t.like(first, { path: '/a', topic: 'a' });
      t.like(dead, { path: '/dead', data: { n: 1 } });
      const extensions = (dead?.event['extensions'] ?? {}) as Record<string, unknown>;
      t.is(protocol === 'http' ? dead?.topic : extensions['topic'], 'a');
    });

    test(`an unknown component is listed and cannot be published to, the others work, ${where}`, async (t) => {
      const { app, sidecar } = await stage(t, protocol, way, [
        { pubsubname: 'nowhere', topic: 'a', route: '/a' },
        { topic: 'c', route: '/c' },
      ]);
      t.is((await sidecar.metadata()).subscriptions?.length, 2);
      t.is(await sidecar.publish('a', 1, { pubsub: 'nowhere' }), 404);
      t.is(await sidecar.publishGrpc('a', '1', { pubsub: 'nowhere' }), 3);
      t.is(await sidecar.publish('b', 1), 204);
      t.is(await sidecar.publish('c', 1), 204);
      await app.got(1);
      t.deepEqual(
        app.received().map(({ path }) => path),
        ['/c'],
      );
    });

    test(`a raw subscription gets the whole event as bytes, ${where}`, async (t) => {
      const raw = { topic: 'a', route: '/a', metadata: { rawPayload: 'true' } };
      const { app, sidecar } = await stage(t, protocol, way, [raw]);
      const types = ['application/json', 'text/plain', 'foo/bar', 'application/octet-stream'];
      for (const type of types) t.is(await sidecar.publish('a', '"x"', { type }), 204);
      const inner = (await app.got(4)).map(
        ({ data }) =>
          JSON.parse(Buffer.from(String(data).slice('base64:'.length), 'base64').toString()) as Record<string, unknown>,
      );
      t.deepEqual(
        inner.map(({ datacontenttype, data, data_base64 }) => [datacontenttype, data ?? data_base64]),
        [
          ['application/json', 'x'],
          ['text/plain', '"x"'],
          ['foo/bar', '"x"'],
          ['application/octet-stream', Buffer.from('"x"').toString('base64')],
        ],
      );
    });

    test(`of two subscriptions to one topic one counts, ${where}`, async (t) => {
      const { app, sidecar } = await stage(t, protocol, way, [
        { topic: 'a', routes: { default: '/first' } },
        { topic: 'a', routes: { default: '/second' } },
      ]);
      t.is(await sidecar.publish('a', ''), 204);
      const path = way === 'the app' ? '/second' : '/first';
      t.deepEqual(
        (await app.got(1)).map((one) => one.path),
        [path],
      );
    });
  }
}

for (const way of ['the app', 'files of v2alpha1'] as const) {
  for (const protocol of PROTOCOLS) {
    const where = `subscribed by ${way}, for an app over ${protocol}`;

    test(`rules are tried in their order; what matches none and has no default is not delivered, ${where}`, async (t) => {
      const rules = [
        { match: 'event.type == "one" && event.topic == "a"', path: '/one' },
        { match: 'event.type == "two"', path: '/two' },
        { match: 'event.type == "two" || event.type == "three"', path: '/three' },
      ];
      const { app, sidecar } = await stage(t, protocol, way, [
        { topic: 'a', routes: { rules } },
        { topic: 'b', routes: { rules, default: '/default' } },
      ]);
      const publish = (topic: string, type: string): Promise<number> =>
        sidecar.publish(topic, 'x', { type: 'text/plain', query: `metadata.cloudevent.type=${type}` });
      for (const type of ['none', 'one', 'two', 'three']) t.is(await publish('a', type), 204);
      for (const type of ['none', 'one', 'two', 'three']) t.is(await publish('b', type), 204);
      const paths = (await app.got(7)).map(({ topic, path }) => `${topic}${path}`);
      t.deepEqual(paths.sort(), ['a/one', 'a/three', 'a/two', 'b/default', 'b/default', 'b/three', 'b/two']);
    });

    test(`of rules with an empty match the first is taken, ${where}`, async (t) => {
      const rules = [
        { match: '', path: '/first' },
        { match: '', path: '/second' },
      ];
      const { app, sidecar } = await stage(t, protocol, way, [{ topic: 'a', routes: { rules } }]);
      t.is(await sidecar.publish('a', 'x'), 204);
      t.deepEqual(
        (await app.got(1)).map(({ path }) => path),
        ['/first'],
      );
    });
  }
}

test('an app that lists both a route and routes means the routes, and the later of two', async (t) => {
  const app = await startParityApp(t, 'http', [
    { topic: 'a', route: '/a1', routes: { default: '/a2' } },
    { topic: 'b', routes: { default: '/b1' } },
    { topic: 'b', route: '/b2' },
    { topic: 'c', route: '/c1', routes: { rules: [{ match: '', path: '/c2' }] } },
    { topic: 'd', route: '/d1' },
    { topic: 'd', routes: { rules: [{ path: '/d2' }] } },
  ]);
  const sidecar = await startSidecar(t, { appPort: app.port });
  for (const topic of ['a', 'b', 'c', 'd']) t.is(await sidecar.publish(topic, 'x'), 204);
  t.deepEqual((await app.got(4)).map(({ path }) => path).sort(), ['/a2', '/b2', '/c2', '/d2']);
});

test('404 of the app counts as failure, and goes to the dead-letter topic', async (t) => {
  const files = [
    declared('v2alpha1', 'a', { topic: 'a', routes: { default: '/missing' }, deadLetterTopic: 'mydead' }),
    declared('v2alpha1', 'b', { topic: 'mydead', routes: { default: '/dead' } }),
  ];
  const { startHttpApp } = await import('../_support/http-app.ts');
  const app = await startHttpApp({ reply: ({ path }) => (path === '/missing' ? 404 : 200) });
  t.teardown(() => app.close());
  const sidecar = await startSidecar(t, { appPort: app.port, resources: { 'a.yaml': [memory('pubsub'), ...files] } });
  t.is(await sidecar.publish('a', 'x'), 204);
  await until(() => app.received.length === 2, 'the dead letter comes');
  t.like(app.received[1], { path: '/dead', event: { topic: 'a' } });
});

test('without an app declared subscriptions are listed, and publishing works', async (t) => {
  const file = [memory('pubsub'), declared('v2alpha1', 's', { topic: 'a', routes: { default: '/a' } })];
  const sidecar = await startSidecar(t, { resources: { 'a.yaml': file } });
  t.like((await sidecar.metadata()).subscriptions?.[0], { pubsubname: 'pubsub', topic: 'a', type: 'DECLARATIVE' });
  t.is(await sidecar.publishGrpc('a', 'x'), 0);
});

for (const version of ['v1alpha1', 'v2alpha1'] as const) {
  test(`scopes of a subscription of ${version} say which apps have it, in the order of the files`, async (t) => {
    const route = (topic: string): object =>
      version === 'v1alpha1' ? { topic, route: `/${topic}` } : { topic, routes: { default: `/${topic}` } };
    const file = [
      memory('pubsub'),
      declared(version, 'everybody', route('all')),
      declared(version, 'empty', route('empty'), []),
      declared(version, 'only1', route('only1'), ['app1']),
      declared(version, 'only2', route('only2'), ['app2']),
      declared(version, 'both', route('both'), ['app1', 'app2']),
    ];
    for (const [appId, topics] of [
      ['app1', ['all', 'empty', 'only1', 'both']],
      ['app2', ['all', 'empty', 'only2', 'both']],
    ] as const) {
      const app = await startParityApp(t, 'grpc', undefined);
      const options = { appId, appPort: app.port, protocol: 'grpc' as const, resources: { 'a.yaml': file } };
      const sidecar = await startSidecar(t, options);
      type Listed = { subscriptions: { topic: string }[] };
      const listed = await call<Listed>(sidecar.client, 'getMetadata', {});
      t.deepEqual(
        listed.subscriptions,
        topics.map((topic) => ({
          pubsubName: 'pubsub',
          topic,
          metadata: {},
          rules: { rules: [{ match: '', path: `/${topic}` }] },
          deadLetterTopic: '',
          type: 1,
        })) as never,
      );
      for (const topic of ['all', 'empty', 'only1', 'only2', 'both']) t.is(await sidecar.publishGrpc(topic, 'x'), 0);
      t.deepEqual((await app.got(4)).map(({ topic }) => topic).sort(), topics.toSorted());
    }
  });
}

test('of files of both versions for one topic the first counts, with a route and with a rule', async (t) => {
  const files = [
    memory('pubsub'),
    declared('v1alpha1', 'a1', { topic: 'a', route: '/a1' }),
    declared('v2alpha1', 'a2', { topic: 'a', routes: { default: '/a2' } }),
    declared('v2alpha1', 'b1', { topic: 'b', routes: { rules: [{ match: 'event.type == "x"', path: '/b1' }] } }),
    declared('v1alpha1', 'b2', { topic: 'b', route: '/b2' }),
  ];
  const app = await startParityApp(t, 'http', undefined);
  const sidecar = await startSidecar(t, { appPort: app.port, resources: { 'a.yaml': files } });
  t.is(await sidecar.publish('a', '1'), 204);
  t.is(await sidecar.publish('b', '1'), 204);
  t.is(await sidecar.publish('b', '1', { query: 'metadata.cloudevent.type=x' }), 204);
  t.deepEqual((await app.got(2)).map(({ path }) => path).sort(), ['/a1', '/b1']);
});

const ODD_YAML = `apiVersion: dapr.io/v1alpha1
apiVersion: dapr.io/v2alpha1
Kind: Subscription
Metadata:
  name: odd
spec:
  pubsubName: pubsub
  topic: a
  default: /ignored
  routes:
    rules:
    - path: /file
`;

for (const protocol of PROTOCOLS) {
  test(`a file with keys in any case and twice is read, for an app over ${protocol}`, async (t) => {
    const app = await startParityApp(t, protocol, undefined);
    const resources = { 'a.yaml': memory('pubsub'), 'b.yaml': ODD_YAML };
    const sidecar = await startSidecar(t, { appPort: app.port, protocol, resources });
    t.is(await sidecar.publish('a', 'x'), 204);
    t.like((await app.got(1))[0], { path: '/file' });
  });

  test(`what the app lists takes the place of what a file declares for that topic, over ${protocol}`, async (t) => {
    const rule = (path: string): object => ({ routes: { rules: [{ match: 'event.type == "x"', path }] } });
    const app = await startParityApp(t, protocol, [
      { topic: 'a', route: '/app-a' },
      { topic: 'b', route: '/app-b' },
      { topic: 'c', ...rule('/app-c') },
      { topic: 'd', routes: { rules: [{ path: '/app-d' }] } },
    ]);
    const files = [
      memory('pubsub'),
      declared('v1alpha1', 'a', { topic: 'a', route: '/file-a' }),
      declared('v2alpha1', 'b', { topic: 'b', ...rule('/file-b') }),
      declared('v1alpha1', 'c', { topic: 'c', route: '/file-c' }),
    ];
    const resources = { 'a.yaml': files, 'd.yaml': ODD_YAML.replace('topic: a', 'topic: d') };
    const sidecar = await startSidecar(t, { appPort: app.port, protocol, resources });
    for (const topic of ['a', 'b', 'c', 'd']) {
      t.is(await sidecar.publish(topic, 'x', { query: 'metadata.cloudevent.type=x' }), 204);
    }
    t.deepEqual((await app.got(4)).map(({ path }) => path).sort(), ['/app-a', '/app-b', '/app-c', '/app-d']);
  });

  test(`--disable-init-endpoints=subscribe asks the app over ${protocol} for nothing`, async (t) => {
    const app = await startParityApp(t, protocol, [{ topic: 'a', route: '/a' }]);
    const args = ['--disable-init-endpoints=subscribe'];
    const sidecar = await startSidecar(t, { appPort: app.port, protocol, args });
    t.true(await until(() => sidecar.log().includes('Skipping programmatic subscription loading'), 'it is logged'));
    t.is(await sidecar.publish('a', 'x'), 204);
    t.is(await sidecar.stop(), 0);
    t.deepEqual([app.received().length, app.asked().filter((what) => /subscri/i.test(what)).length], [0, 0]);
  });
}
