import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import test from 'ava';
import { publish, type Daprd } from '../_support/daprd.ts';
import type { HttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { app, COMPONENT, components, pluginProcess, site, sub } from './_site.ts';

const bulk = (daprd: Daprd, topic: string, events: readonly string[]): Promise<Response> =>
  fetch(`${daprd.http}/v1.0/publish/bulk/pubsub/${topic}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(events.map((event) => ({ entryId: event, event, contentType: 'text/plain' }))),
  });

test('an event goes to the component and comes back, and is acknowledged when the app succeeded', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start();
  const receiver = await app(t, { subscribe: [sub('orders', { metadata: { kind: 'fast' } })] });
  const daprd = await launch({ appPort: receiver.port });
  const response = await publish(daprd, 'orders', { n: 1 }, { query: 'metadata.ttlInSeconds=60' });
  t.is(response.status, 204);
  await until(() => plugin.of('ack').length === 1, 'it is acknowledged');
  const [received] = receiver.received;
  t.like(received?.event, { data: { n: 1 }, topic: 'orders', pubsubname: 'pubsub', type: 'com.dapr.event.sent' });
  t.is(received?.headers['ttlinseconds'], '60');
  t.deepEqual(plugin.of('ack'), [{ kind: 'ack', id: '1', error: undefined }]);
  t.deepEqual(plugin.of('init'), [
    { kind: 'init', instance: 'pubsub', properties: { colour: 'green', consumerID: 'app' } },
  ]);
  t.like(plugin.of('pull')[0], { topic: 'orders', metadata: { kind: 'fast' } });
  t.like(await components(daprd), [{ name: 'pubsub', type: 'pubsub.my-broker' }]);
  t.is(await daprd.stop(), 0);
});

test('an event that fails is neither acknowledged nor reported as failed, and comes again', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start();
  const receiver = await app(t, { subscribe: [sub('again')], reply: (_, nth) => (nth < 3 ? 500 : 200) });
  const daprd = await launch({ appPort: receiver.port });
  await publish(daprd, 'again', '1');
  await until(() => receiver.received.length === 2, 'it comes again');
  t.deepEqual(plugin.of('ack'), []);
  await until(() => plugin.of('ack').length === 1, 'it is acknowledged');
  t.is(receiver.received.length, 3);
  t.deepEqual(plugin.of('ack')[0]?.error, undefined);
  t.is(plugin.of('sent').length, 1);
});

test('an event that fails does not hold up the others; a dropped one is acknowledged', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start();
  const receiver = await app(t, {
    subscribe: [sub('poison')],
    reply: ({ event }) => (event['data'] === 'bad' ? 500 : { status: 200, body: '{"status":"DROP"}' }),
  });
  const daprd = await launch({ appPort: receiver.port });
  for (const text of ['bad', 'a', 'b']) await publish(daprd, 'poison', text, { type: 'text/plain' });
  await until(() => plugin.of('ack').length === 2, 'the others are acknowledged');
  t.deepEqual(plugin.unsettled, ['1']);
});

test('a dead letter does not ask a component that lets messages expire for the time its event had', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  await start({ features: ['MESSAGE_TTL'] });
  const receiver = await app(t, {
    subscribe: [sub('alive', { deadLetterTopic: 'dead' }), sub('dead')],
    reply: ({ path }) => (path === '/dead' ? 200 : 500),
  });
  const daprd = await launch({ appPort: receiver.port });
  await publish(daprd, 'alive', '1', { query: 'metadata.ttlInSeconds=60&metadata.TTL=60&metadata.kind=fast' });
  const dead = await until(() => receiver.received.find(({ path }) => path === '/dead'), 'the dead letter arrives');
  t.deepEqual(
    receiver.received.map(({ headers }) => [headers['kind'], headers['ttlinseconds'], headers['ttl']]),
    [
      ['fast', '60', '60'],
      ['fast', undefined, undefined],
    ],
  );
  t.is(dead.event['expiration'], undefined);
});

test('a dead letter is acknowledged when it was written', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  let refused = 0;
  const plugin = await start({
    refuse: (topic) => (topic === 'dead' && ++refused === 1 ? status.RESOURCE_EXHAUSTED : 0),
  });
  const receiver = await app(t, {
    subscribe: [sub('alive', { deadLetterTopic: 'dead' }), sub('dead')],
    reply: ({ path }) => (path === '/dead' ? 200 : 500),
  });
  const daprd = await launch({ appPort: receiver.port });
  await publish(daprd, 'alive', '1');
  await until(() => refused === 1, 'the dead letter is refused');
  t.deepEqual(plugin.of('ack'), []);
  await until(() => plugin.of('ack').length === 2, 'both are acknowledged');
  t.is(receiver.received.filter(({ path }) => path === '/dead').length, 1);
});

test('a component that is killed and comes back is initialised again, and nothing acknowledged is lost', async (t) => {
  const { socket, directory, daprd: launch } = await site(t);
  const options = { socket, journal: join(directory, 'journal') };
  const first = await pluginProcess(t, options);
  let fails = true;
  const receiver = await app(t, { subscribe: [sub('crash')], reply: () => (fails ? 500 : 200) });
  const daprd = await launch({ appPort: receiver.port });
  t.is((await publish(daprd, 'crash', '1')).status, 204);
  await until(() => receiver.received.length >= 1, 'it failed once');
  await first.kill();
  await until(() => daprd.log().includes('cannot be reached, trying again'), 'the sidecar noticed');
  t.is((await publish(daprd, 'crash', '2')).status, 500);
  fails = false;
  const second = await pluginProcess(t, options);
  await until(() => second.events.some(({ kind }) => kind === 'ack'), 'it came again and is acknowledged');
  t.is((await publish(daprd, 'crash', '3')).status, 204);
  await until(() => receiver.received.some(({ event }) => event['data'] === 3), 'what is published then arrives');
  t.deepEqual(
    [...second.events].slice(0, 2).map(({ kind }) => kind),
    ['init', 'pull'],
  );
  t.true(await until(() => daprd.log().includes(`pluggable component at ${socket} is back`), 'it is logged'));
});

test('a sidecar that is killed in mid-flight loses nothing: the component hands it out again', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start();
  const receiver = await app(t, {
    subscribe: [sub('storm')],
    reply: () => new Promise((resolve) => setTimeout(() => resolve(200), 2)),
  });
  const acknowledged = new Set<number>();
  for (let round = 0, n = 0; round < 4; round++) {
    const daprd = await launch({ appPort: receiver.port });
    const burst = Array.from({ length: 60 }, async () => {
      const own = n++;
      const response = await publish(daprd, 'storm', own).catch(() => undefined);
      if (response?.status === 204) acknowledged.add(own);
    });
    const seen = receiver.received.length;
    await until(() => receiver.received.length >= seen + 10, 'events flow');
    await daprd.stop('SIGKILL');
    await Promise.all(burst);
  }
  await launch({ appPort: receiver.port });
  await until(() => plugin.unsettled.length === 0, 'all is acknowledged');
  const arrived = new Set(receiver.received.map(({ event }) => event['data']));
  t.true(acknowledged.size > 50, String(acknowledged.size));
  t.deepEqual(
    [...acknowledged].filter((own) => !arrived.has(own)),
    [],
  );
});

test('a stream that breaks is opened again and what was in hand comes again', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start();
  const { promise: gate, resolve: open } = Promise.withResolvers<number>();
  const receiver = await app(t, { subscribe: [sub('cut')], reply: (_, nth) => (nth === 1 ? gate : 200) });
  const daprd = await launch({ appPort: receiver.port });
  await publish(daprd, 'cut', '1');
  await until(() => receiver.received.length === 1, 'it is in hand');
  plugin.breakStreams();
  await until(() => plugin.of('ack').length === 1, 'it came again and is acknowledged');
  open(200);
  t.is(plugin.of('pull').length, 2);
  t.is(receiver.received.length, 2);
});

test('a message that the component repeats is handled once; its id with other bytes is another message', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start();
  const { promise: gate, resolve: open } = Promise.withResolvers<number>();
  const receiver = await app(t, { subscribe: [sub('twice')], reply: () => gate });
  const daprd = await launch({ appPort: receiver.port });
  await publish(daprd, 'twice', '1');
  await until(() => receiver.received.length === 1, 'it is in hand');
  plugin.repeat();
  plugin.push('twice', { id: '1', data: Buffer.from('{"specversion":"1.0","id":"other","data":2}') });
  plugin.push('twice', { data: Buffer.from('{"specversion":"1.0","id":"nameless","data":3}') });
  await publish(daprd, 'elsewhere', '1'); // its answer comes on the same connection, behind them
  open(200);
  await until(() => receiver.received.length === 3, 'the other two arrive');
  t.deepEqual(
    receiver.received.slice(1).map(({ event }) => event['id']),
    ['other', 'nameless'],
  );
  await until(() => plugin.of('ack').length === 3, 'all are acknowledged');
  t.deepEqual(
    plugin.of('ack').map(({ id }) => id),
    ['1', '1', ''],
  );
});

test('a message keeps the topic, metadata and content type that the component gives it', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start();
  const receiver = await app(t, { subscribe: [sub('a')] });
  const daprd = await launch({ appPort: receiver.port });
  plugin.push('a', {
    id: 'x',
    topicName: 'elsewhere',
    data: Buffer.from('{"specversion":"1.0","id":"1","data":1}'),
    metadata: { 'content-length': '123', colour: 'blue' },
  });
  plugin.push('a', {
    id: 'y',
    data: Buffer.from([0, 255]),
    contentType: 'application/octet-stream',
    metadata: { ce_id: 'b' },
  });
  await until(() => receiver.received.length === 2, 'both arrive');
  const [plain, binary] = receiver.received;
  t.is(plain?.headers['colour'], 'blue');
  t.is(plain?.headers['content-length'], String(plain?.body.length));
  t.like(binary?.event, { id: 'b', data_base64: 'AP8=', datacontenttype: 'application/octet-stream' });
  t.is(await daprd.stop(), 0);
});

test('a bulk publish is one call where the component says so, else one for each event, in order', async (t) => {
  for (const [features, lacks, kinds] of [
    [['BULK_PUBSUB'], [], ['bulk']],
    [[], [], ['publish', 'publish', 'publish']],
    [['BULK_PUBSUB'], ['BulkPublish'], ['publish', 'publish', 'publish']],
  ] as const) {
    const { plugin: start, daprd: launch } = await site(t);
    const plugin = await start({ features, lacks });
    const receiver = await app(t, { subscribe: [sub('many')] });
    const daprd = await launch({ appPort: receiver.port });
    t.is((await bulk(daprd, 'many', ['a', 'b', 'c'])).status, 204);
    await until(() => receiver.received.length === 3, 'all arrive');
    t.deepEqual(
      receiver.received.map(({ event }) => event['data']),
      ['a', 'b', 'c'],
    );
    t.deepEqual(
      plugin.events.map(({ kind }) => kind).filter((kind) => kind === 'publish' || kind === 'bulk'),
      [...kinds],
    );
    t.deepEqual((await components(daprd))[0]?.capabilities, features.length > 0 ? [...features] : undefined);
    await daprd.stop();
  }
});

test('the code of a refusal decides whether a policy tries again', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start({ refuse: (topic) => (topic === 'away' ? status.UNAVAILABLE : status.NOT_FOUND) });
  const policy = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: policy
spec:
  policies:
    retries:
      some: { policy: constant, duration: 10ms, maxRetries: 3, matching: { gRPCStatusCodes: "14", httpStatusCodes: "503" } }
  targets:
    components:
      pubsub: { outbound: { retry: some } }
`;
  const daprd = await launch({ resources: { 'pubsub.yaml': COMPONENT, 'policy.yaml': policy } });
  const answer = (await (await publish(daprd, 'away', '1')).json()) as { message: string };
  t.regex(answer.message, /rpc error: code = Unavailable desc = refused by the test/);
  await publish(daprd, 'unknown', '1');
  t.deepEqual(
    plugin.of('publish').map(({ topic }) => topic),
    ['away', 'away', 'away', 'away', 'unknown'],
  );
});

for (const [name, lacks] of [
  ['pauses the component', []],
  ['goes on without a pause where the component has none', ['Pause', 'Resume']],
] as const) {
  test(`a stop that waits for an event in hand ${name}, acknowledges it and touches no other`, async (t) => {
    const { plugin: start, daprd: launch } = await site(t);
    const plugin = await start({ lacks });
    const { promise: gate, resolve: open } = Promise.withResolvers<number>();
    const receiver = await app(t, { subscribe: [sub('stop')], reply: () => gate });
    const daprd = await launch({ appPort: receiver.port, args: ['--dapr-block-shutdown-duration', '60s'] });
    await publish(daprd, 'stop', '1');
    await until(() => receiver.received.length === 1, 'it is in hand');
    const exit = daprd.stop();
    await until(() => daprd.log().includes('Blocking graceful shutdown'), 'it stops');
    if (lacks.length === 0) await until(() => plugin.of('pause').length === 1, 'it is paused');
    await publish(daprd, 'stop', '2');
    t.deepEqual(plugin.of('ack'), []);
    open(200);
    await until(() => plugin.of('ack').length === 1, 'it is acknowledged');
    await until(() => plugin.of('end').length === 1, 'the stream ends');
    t.deepEqual(plugin.of('ack'), [{ kind: 'ack', id: '1', error: undefined }]);
    t.deepEqual(plugin.unsettled, ['2']);
    t.is(receiver.received.length, 1);
    if (lacks.length === 0) await until(() => plugin.of('resume').length === 1, 'others are not kept waiting');
    void daprd.stop();
    t.is(await exit, 1, 'a second signal ends the block');
  });
}

test('sidecars of one app share the events of a component, and another app gets its own', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const plugin = await start({ window: 1 });
  const named = (name: string): string => COMPONENT.replace('name: pubsub\n', `name: ${name}\n`);
  // The component prefers the first of those that have nothing in hand: it answers when the second has begun, too.
  const { promise: gate, resolve: open } = Promise.withResolvers<number>();
  const receivers: HttpApp[] = await Promise.all(
    ['team-pubsub', 'team-pubsub', 'other-pubsub'].map((pubsubname) =>
      app(t, {
        subscribe: [{ ...sub('share'), pubsubname }],
        reply: () => {
          if (receivers.slice(0, 2).every(({ received }) => received.length > 0)) open(200);
          return pubsubname === 'team-pubsub' ? gate : 200;
        },
      }),
    ),
  );
  const daprds = await Promise.all(
    receivers.map(({ port }, index) => {
      const appId = index < 2 ? 'team' : 'other';
      return launch({ appId, appPort: port, resources: { 'pubsub.yaml': named(`${appId}-pubsub`) } });
    }),
  );
  for (let n = 0; n < 30; n++) await publish(daprds[0] as Daprd, 'share', n, { pubsub: 'team-pubsub' });
  await until(() => plugin.of('ack').length === 60, 'both groups have acknowledged all');
  const [one = [], two = [], other = []] = receivers.map(({ received }) => received.map(({ event }) => event['data']));
  t.is(new Set([...one, ...two]).size, 30);
  t.is(one.length + two.length, 30);
  t.is(new Set(other).size, 30);
});
