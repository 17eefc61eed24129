import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { componentFile, MEMORY, publish, startDaprd, temporaryDirectory } from '../_support/daprd.ts';
import { startHttpApp, type Reply } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const resiliency = (spec: string): string =>
  `apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata:\n  name: myresiliency\nspec:\n${spec}`;
const sub = (topic: string, more: object = {}): object => ({
  pubsubname: 'pubsub',
  topic,
  route: `/${topic}`,
  ...more,
});

test('four retries make five deliveries, then the event is parked', async (t) => {
  const app = await startHttpApp({ subscribe: [sub('a')], reply: () => 500 });
  t.teardown(() => app.close());
  const spec = `  policies: { retries: { it: { duration: 10ms, maxRetries: 4, policy: constant } } }
  targets: { components: { pubsub: { inbound: { retry: it } } } }`;
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'a.yaml': MEMORY, 'r.yaml': resiliency(spec) } });
  await publish(daprd, 'a', { n: 1 });
  await until(() => app.received.length === 5, 'five deliveries');
  await until(() => daprd.log().includes('parked pub/sub event'), 'it is parked');
  t.is(app.received.length, 5);
  t.true(await until(() => /Loading Resiliency configuration: myresiliency/.test(daprd.log()), 'it is logged'));
  t.true(
    await until(
      () => /Error processing operation component\[pubsub\] input. Retrying in 10ms/.test(daprd.log()),
      'it is logged',
    ),
  );
});

test('retries that are exhausted end in the dead-letter topic; a timeout is a failure', async (t) => {
  const app = await startHttpApp({
    subscribe: [sub('a', { deadLetterTopic: 'dead' }), sub('dead')],
    reply: ({ path }) => (path === '/a' ? new Promise<Reply>(() => undefined) : 200),
  });
  t.teardown(() => app.close());
  const spec = `  policies: { timeouts: { t: 1s }, retries: { it: { duration: 10ms, maxRetries: 1 } } }
  targets: { components: { pubsub: { inbound: { retry: it, timeout: t } } } }`;
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'a.yaml': MEMORY, 'r.yaml': resiliency(spec) } });
  await publish(daprd, 'a', { n: 1 });
  const dead = await until(() => app.received.find(({ path }) => path === '/dead'), 'a dead letter');
  t.is(dead.event['dlreason'], 'context deadline exceeded');
  t.is(dead.event['dlattempts'], 2);
  t.is(app.received.filter(({ path }) => path === '/a').length, 2);
});

test('behind an open breaker events wait, and none dies of it', async (t) => {
  let broken = true;
  const handled = new Set<string>();
  const app = await startHttpApp({
    subscribe: [sub('a', { deadLetterTopic: 'dead' }), sub('dead')],
    reply: ({ event }) => {
      if (!broken) handled.add(JSON.stringify(event['data']));
      return broken ? 500 : 200;
    },
  });
  t.teardown(() => app.close());
  const spec = `  policies:
    retries: { it: { duration: 10ms, maxRetries: 20 } }
    circuitBreakers: { cb: { timeout: 300ms, trip: consecutiveFailures >= 3 } }
  targets: { components: { pubsub: { inbound: { retry: it, circuitBreaker: cb } } } }`;
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'a.yaml': MEMORY, 'r.yaml': resiliency(spec) } });
  for (let n = 0; n < 5; n++) await publish(daprd, 'a', { n });
  await until(() => daprd.log().split('from half-open to open').length > 3, 'it opened some times');
  broken = false;
  await until(() => handled.size === 5, 'all came');
  await until(() => /from half-open to closed/.test(daprd.log()), 'it closed');
  t.is(app.received.filter(({ path }) => path === '/dead').length, 0);
});

test('what waits behind an open breaker costs no attempt, also when the sidecar is started anew', async (t) => {
  const app = await startHttpApp({
    subscribe: [sub('a', { deadLetterTopic: 'dead' }), sub('dead')],
    reply: ({ path }) => (path === '/a' ? 500 : 200),
  });
  t.teardown(() => app.close());
  const spec = `  policies:
    retries: { it: { duration: 10ms, maxRetries: 3 } }
    circuitBreakers: { cb: { timeout: 1s, trip: consecutiveFailures >= 1 } }
  targets: { components: { pubsub: { inbound: { retry: it, circuitBreaker: cb } } } }`;
  const directory = await temporaryDirectory(t);
  const sqlite = componentFile('pubsub.sqlite', { connectionString: join(directory, 'events.db') });
  const options = { appPort: app.port, directory, resources: { 'a.yaml': sqlite, 'r.yaml': resiliency(spec) } };
  const first = await startDaprd(t, options);
  await publish(first, 'a', { n: 1 });
  const tries = (): number => app.received.filter(({ path }) => path === '/a').length;
  await until(() => tries() === 3, 'it was postponed twice');
  await first.stop();
  await startDaprd(t, options);
  const dead = await until(() => app.received.find(({ path }) => path === '/dead'), 'a dead letter');
  t.is(dead.event['dlattempts'], 4);
  t.is(tries(), 4);
});

test('a bad resource is told of and the sidecar starts', async (t) => {
  const spec = `  policies:
    retries:
      DefaultAppRetryPolicy: { policy: constant, duration: 10ms, maxRetries: 3, matching: { gRPCStatusCodes: 400, httpStatusCodes: 11 } }`;
  const daprd = await startDaprd(t, { resources: { 'a.yaml': MEMORY, 'r.yaml': resiliency(spec) } });
  t.true(await until(() => /Could not read resiliency policy myresiliency/.test(daprd.log()), 'it is logged'));
});

test('an app is asked at start as often as a policy says', async (t) => {
  let asked = 0;
  const app = createServer((request, response) => {
    if (request.url !== '/dapr/subscribe') return response.writeHead(404).end();
    if (++asked < 6) return request.socket.destroy();
    response.writeHead(200).end('[]');
  });
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve));
  t.teardown(() => app.close());
  const spec = '  policies: { retries: { DaprBuiltInInitializationRetries: { duration: 5ms, maxRetries: 5 } } }';
  const daprd = await startDaprd(t, {
    appPort: (app.address() as AddressInfo).port,
    resources: { 'a.yaml': MEMORY, 'r.yaml': resiliency(spec) },
  });
  t.is(asked, 6);
  t.false(daprd.log().includes('failed to subscribe to topics'));
});

test('the time that an event waits for its turn with the app is not that of its timeout', async (t) => {
  let handled = 0;
  const app = await startHttpApp({
    subscribe: [sub('a', { deadLetterTopic: 'dead' }), sub('dead')],
    reply: async () => {
      await wait(2000);
      handled++;
      return 200;
    },
  });
  t.teardown(() => app.close());
  const spec = `  policies: { timeouts: { t: 5s } }
  targets: { components: { pubsub: { inbound: { timeout: t } } } }`;
  const memory = componentFile('pubsub.in-memory', { concurrency: '10' });
  const daprd = await startDaprd(t, {
    appPort: app.port,
    resources: { 'a.yaml': memory, 'r.yaml': resiliency(spec) },
    args: ['--app-max-concurrency', '1'],
  });
  for (let n = 0; n < 5; n++) await publish(daprd, 'a', n);
  await until(() => handled === 5, 'five deliveries');
  t.deepEqual(
    app.received.map(({ path, event }) => [path, event['data']]),
    [0, 1, 2, 3, 4].map((n) => ['/a', n]),
  );
});
