/** Deliveries at the edges: what does not open, what does not fit, what stops half way, what fails as a batch. */

import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { componentFile, publish, startDaprd, temporaryDirectory, type Daprd } from '../_support/daprd.ts';
import { startHttpApp, type HttpApp, type HttpAppOptions } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { site } from '../pluggable/_site.ts';

const sub = (topic: string, more: object = {}): object => ({
  pubsubname: 'pubsub',
  topic,
  route: `/${topic}`,
  ...more,
});

async function appFor(t: ExecutionContext, options: HttpAppOptions): Promise<HttpApp> {
  const app = await startHttpApp(options);
  t.teardown(() => app.close());
  return app;
}

const paths = (app: HttpApp): string[] => app.received.map(({ path }) => path);

test('a subscription that does not open is tried again until it does', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  const lame = await start({ lacks: ['PullMessages'] });
  const app = await appFor(t, { subscribe: [sub('a')] });
  const daprd = await launch({ appPort: app.port });
  await until(() => daprd.log().includes('Failed to start subscription for pubsub pubsub, topic a'), 'it fails');
  await until(() => daprd.log().includes('Retry failed for subscription pubsub pubsub, topic a'), 'it fails again');
  lame.stop();
  await start();
  const opened = 'Successfully started subscription after retry for pubsub pubsub, topic a';
  await until(() => daprd.log().includes(opened), 'it opens', 30_000);
  t.is((await publish(daprd, 'a', '1')).status, 204);
  await until(() => app.received.length === 1, 'the event arrives');
});

test('a rawPayload of a subscription that is no boolean keeps it from opening, and no other', async (t) => {
  const app = await appFor(t, { subscribe: [sub('odd', { metadata: { rawPayload: 'perhaps' } }), sub('even')] });
  const daprd = await startDaprd(t, { appPort: app.port });
  const failed =
    /Failed to start subscription for pubsub pubsub, topic odd: .*rawPayload value must be a valid boolean/;
  await until(() => failed.test(daprd.log()), 'the log says so');
  for (const topic of ['odd', 'even']) await publish(daprd, topic, '1');
  await until(() => app.received.length === 1, 'the other arrives');
  t.deepEqual(paths(app), ['/even']);
});

test('a star at the end of a topic stands for anything, where the broker knows it', async (t) => {
  const app = await appFor(t, { subscribe: [sub('orders.*', { route: '/orders' })] });
  const daprd = await startDaprd(t, { appPort: app.port });
  for (const topic of ['orders.new', 'orders', 'orders.old']) await publish(daprd, topic, '1');
  await until(() => app.received.length === 2, 'two arrive');
  t.deepEqual(
    app.received.map(({ event }) => event['topic']),
    ['orders.new', 'orders.old'],
  );
});

test('bytes with the attributes of an event in their metadata arrive as a whole event', async (t) => {
  const app = await appFor(t, { subscribe: [sub('a')] });
  const daprd = await startDaprd(t, { appPort: app.port });
  const metadata = {
    rawPayload: 'true',
    'content-type': 'application/octet-stream',
    ce_id: '7',
    CE_Type: 'mine',
    ce_source: 's',
  };
  const query = Object.entries(metadata).map(([name, value]) => `metadata.${name}=${encodeURIComponent(value)}`);
  await publish(daprd, 'a', Buffer.from([0, 255]), { query: query.join('&') });
  await until(() => app.received.length === 1, 'it arrives');
  t.like(app.received[0]?.event, { id: '7', type: 'mine', source: 's', data_base64: 'AP8=' });
  t.is(app.received[0]?.headers['content-type'], 'application/cloudevents+json');
  await publish(daprd, 'a', Buffer.from([1]), { query: query.slice(0, 2).join('&') });
  await until(() => app.received.length === 2, 'one without attributes arrives');
  const { id, ...bare } = app.received[1]?.event ?? {};
  t.regex(String(id), /^[0-9a-f-]{36}$/);
  t.like(bare, { specversion: '1.0', source: 'Dapr', type: 'com.dapr.event.sent', data_base64: 'AQ==' });
});

test('an event that fails while the sidecar stops is neither settled nor a dead letter', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = componentFile('pubsub.sqlite', { connectionString: join(directory, 'events.db') });
  const options = { directory, resources: { 'pubsub.yaml': file } };
  let fail: () => void = () => undefined;
  const failed = new Promise<number>((resolve) => (fail = () => resolve(500)));
  const subscribe = [sub('a', { deadLetterTopic: 'dead' }), sub('dead')];
  const first = await appFor(t, { subscribe, reply: () => failed });
  const daprd = await startDaprd(t, {
    ...options,
    appPort: first.port,
    args: ['--dapr-graceful-shutdown-seconds', '20'],
  });
  await publish(daprd, 'a', '1');
  await until(() => first.received.length === 1, 'the event is in hand');
  const stopped = daprd.stop();
  await until(() => daprd.log().includes('Dapr is shutting down'), 'it stops');
  fail();
  t.is(await stopped, 0);
  const second = await appFor(t, { subscribe });
  const next = await startDaprd(t, { ...options, appPort: second.port });
  await until(() => second.received.length === 1, 'the event comes again');
  await publish(next, 'dead', '2');
  await until(() => second.received.length === 2, 'the next event comes');
  t.deepEqual(paths(second), ['/a', '/dead']);
  t.is(second.received[1]?.event['data'], 2);
});

const scrape = async ({ metricsPort }: Daprd): Promise<string> =>
  (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();

test('404 to a batch fails its events; each goes to the dead-letter topic by itself, or comes again', async (t) => {
  const bulkSubscribe = { enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 50 };
  const app = await appFor(t, {
    subscribe: [sub('lost', { bulkSubscribe, deadLetterTopic: 'dead' }), sub('again', { bulkSubscribe }), sub('dead')],
    reply: ({ path }) => (path === '/dead' ? 200 : 404),
  });
  const daprd = await startDaprd(t, { appPort: app.port });
  for (const topic of ['lost', 'lost', 'again']) await publish(daprd, topic, '1');
  await until(() => paths(app).filter((path) => path === '/dead').length === 2, 'two dead letters arrive');
  await until(() => paths(app).filter((path) => path === '/again').length >= 2, 'the other comes again');
  const letters = app.received.filter(({ path }) => path === '/dead');
  t.is(new Set(letters.map(({ event }) => event['id'])).size, 2);
  t.true(letters.every(({ event }) => event['dlstatus'] === 404 && event['dltopic'] === 'lost'));
  const dropped =
    'dapr_component_pubsub_ingress_count{app_id="app",component="pubsub",namespace="",process_status="drop",status="drop",topic="lost"} 2';
  await until(async () => (await scrape(daprd)).includes(dropped), 'each is counted as a delivery');
  t.regex(
    await scrape(daprd),
    /dapr_component_pubsub_ingress_bulk_event_count\{[^}]*process_status="RETRY",topic="lost"\} 2\n/,
  );
});

test('a directory may hold components of other building blocks: they are told of and left out', async (t) => {
  const state = componentFile('state.redis').replace('name: pubsub', 'name: statestore');
  const app = await appFor(t, { subscribe: [sub('a')] });
  const resources = { 'pubsub.yaml': componentFile('pubsub.in-memory'), 'state.yaml': state };
  const daprd = await startDaprd(t, { appPort: app.port, resources });
  t.regex(daprd.log(), /statestore/);
  t.is((await publish(daprd, 'a', '1')).status, 204);
  await until(() => app.received.length === 1, 'the event arrives');
  const { components } = (await (await fetch(`${daprd.http}/v1.0/metadata`)).json()) as {
    components: { name: string }[];
  };
  t.deepEqual(
    components.map(({ name }) => name),
    ['pubsub'],
  );
});

test('while a stop waits for the app, what the app publishes is taken, kept, and delivered by the next sidecar', async (t) => {
  const { promise: held, resolve: release } = Promise.withResolvers<number>();
  const directory = await temporaryDirectory(t);
  const app = await appFor(t, {
    subscribe: [sub('order'), sub('done')],
    reply: ({ path }) => (path === '/order' ? held : 200),
  });
  const options = { appPort: app.port, directory, resources: { 'pubsub.yaml': componentFile('pubsub.sqlite') } };
  const daprd = await startDaprd(t, options);
  await publish(daprd, 'order', '1');
  await until(() => paths(app).includes('/order'), 'the app has it');
  const stopped = daprd.stop();
  await until(() => daprd.log().includes('Dapr is shutting down'), 'the stop begins');
  t.is((await publish(daprd, 'done', 'by the handler', { type: 'text/plain' })).status, 204);
  release(200);
  t.is(await stopped, 0);
  t.false(paths(app).includes('/done'));
  await startDaprd(t, options);
  await until(() => paths(app).includes('/done'), 'it is delivered');
  t.is(paths(app).filter((path) => path === '/order').length, 1);
});

test('a topic is no dead-letter topic of its own: what fails comes again after growing pauses, what is dropped is gone', async (t) => {
  const app = await appFor(t, {
    subscribe: [sub('own', { deadLetterTopic: 'own' })],
    reply: ({ event }) => (event['data'] === 'drop' ? { status: 200, body: '{"status":"DROP"}' } : 500),
  });
  const daprd = await startDaprd(t, { appPort: app.port });
  await publish(daprd, 'own', '"drop"');
  await publish(daprd, 'own', '"fail"');
  await until(() => app.received.length === 3, 'it comes again');
  const [first, second] = app.received.filter(({ event }) => event['data'] === 'fail');
  t.true((second?.at ?? 0) - (first?.at ?? 0) > 500);
  t.deepEqual(second?.body, first?.body);
  t.is(app.received.length, 3);
});

test('a stop does not wait for company: what a batch has gathered is delivered and settled', async (t) => {
  const bulkSubscribe = { enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 600_000 };
  const app = await appFor(t, { subscribe: [sub('a', { bulkSubscribe }), sub('b')] });
  const daprd = await startDaprd(t, { appPort: app.port, args: ['--dapr-graceful-shutdown-seconds', '60'] });
  for (const topic of ['a', 'b']) await publish(daprd, topic, '1');
  await until(() => paths(app).includes('/b'), 'the other event arrives, so this one waits in its batch');
  t.is(await daprd.stop(), 0);
  t.deepEqual(paths(app), ['/b', '/a']);
});

test('an event that fails while its app is not well is no dead letter; it comes again when the app has recovered', async (t) => {
  const { promise: held, resolve: release } = Promise.withResolvers<number>();
  let healthy = true;
  const app = await appFor(t, {
    subscribe: [sub('a', { deadLetterTopic: 'dead' }), sub('dead')],
    get: (url) => (url === '/healthz' ? (healthy ? 200 : 503) : undefined),
    reply: (_, nth) => (nth === 1 ? held : 200),
  });
  const daprd = await startDaprd(t, {
    appPort: app.port,
    resources: { 'pubsub.yaml': componentFile('pubsub.sqlite') },
    args: ['--enable-app-health-check', '--app-health-probe-interval', '1', '--app-health-threshold', '1'],
  });
  await until(() => daprd.log().includes('app is subscribed'), 'it is subscribed');
  await publish(daprd, 'a', '1');
  await until(() => app.received.length === 1, 'the event is in hand');
  healthy = false;
  await until(() => daprd.log().includes('App entered un-healthy status'), 'it is found unhealthy');
  release(500);
  await until(() => daprd.log().includes('status code returned: 500'), 'it has failed');
  healthy = true;
  await until(() => app.received.length === 2, 'the event comes again', 30_000);
  t.deepEqual(paths(app), ['/a', '/a']);
});

test('a stop waits for the events that the app has, and not for those that wait for their turn with it', async (t) => {
  const { promise: held, resolve: release } = Promise.withResolvers<number>();
  const directory = await temporaryDirectory(t);
  let inHand = held;
  const app = await appFor(t, { subscribe: [sub('a')], reply: () => inHand });
  const options = {
    appPort: app.port,
    directory,
    resources: { 'pubsub.yaml': componentFile('pubsub.sqlite') },
    args: ['--app-max-concurrency', '1', '--dapr-graceful-shutdown-seconds', '60'],
  };
  const daprd = await startDaprd(t, options);
  for (let n = 0; n < 5; n++) await publish(daprd, 'a', n);
  await until(() => app.received.length === 1, 'the app has the first');
  const stopped = daprd.stop();
  await until(() => daprd.log().includes('Dapr is shutting down'), 'the stop begins');
  inHand = new Promise(() => undefined);
  release(200);
  t.is(await stopped, 0);
  t.is(app.received.length, 1);
  inHand = Promise.resolve(200);
  await startDaprd(t, options);
  await until(() => app.received.length === 5, 'the others arrive');
  t.deepEqual(app.received.map(({ event }) => event['data']).sort(), [0, 1, 2, 3, 4]);
});
