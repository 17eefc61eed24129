/** Whether events are stuck, and where, as a scrape shows it while things go wrong (docs/operations.md). */

import test, { type ExecutionContext } from 'ava';
import { componentFile, publish, startDaprd, type Daprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';

/** Values of our own series by their name and topic. */
async function standing({ metricsPort }: Daprd): Promise<Map<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const lines = text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^dapr_component_pubsub_(\w+)\{(.*)\} (\S+)$/.exec(line) ?? [];
    const topic = /topic="([^"]*)"/.exec(labels)?.[1];
    return name === undefined ? [] : ([[topic === undefined ? name : `${name} ${topic}`, Number(value)]] as const);
  });
  return new Map(lines);
}

const RETRY_ONCE = `
kind: Resiliency
metadata:
  name: once
spec:
  policies:
    retries:
      once: { policy: constant, duration: 10ms, maxRetries: 1 }
  targets:
    components:
      pubsub: { inbound: { retry: once } }
`;

/** Waits until a scrape has these values; undefined for those that it has none of. */
async function shows(t: ExecutionContext, daprd: Daprd, wanted: Readonly<Record<string, number | undefined>>) {
  let shown: typeof wanted = {};
  await until(async () => {
    const now = await standing(daprd);
    shown = Object.fromEntries(Object.keys(wanted).map((name) => [name, now.get(name)]));
    return Object.entries(wanted).every(([name, value]) => shown[name] === value);
  }, 'a scrape shows it').catch(() => undefined);
  t.deepEqual(shown, wanted);
}

test('a scrape tells what was not delivered, what is in hand, what is parked and for how long', async (t) => {
  const server = await RedisServer.start(t.teardown);
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  const app = await startHttpApp({
    subscribe: ['bad', 'slow'].map((topic) => ({ pubsubname: 'pubsub', topic, route: `/${topic}` })),
    reply: async ({ path }) => {
      if (path === '/slow') await released;
      return path === '/slow' ? 200 : 500;
    },
  });
  t.teardown(() => app.close());
  const redis = componentFile('pubsub.redis', { redisHost: server.address, redisPassword: '', concurrency: '1' });
  const daprd = await startDaprd(t, {
    appPort: app.port,
    resources: { 'pubsub.yaml': redis, 'resiliency.yaml': RETRY_ONCE },
  });
  await shows(t, daprd, { 'group_lag bad': 0, 'group_pending bad': 0, 'group_oldest_unsettled_seconds bad': 0 });
  await publish(daprd, 'bad', 1);
  for (let i = 0; i < 3; i++) await publish(daprd, 'slow', i);
  await shows(t, daprd, {
    up: 1,
    'subscription_open bad': 1,
    'group_lag bad': 0,
    'group_pending bad': 1,
    'group_parked bad': 1,
    'group_lag slow': 2,
    'group_pending slow': 1,
    'group_parked slow': 0,
  });
  await until(async () => ((await standing(daprd)).get('group_oldest_unsettled_seconds slow') ?? 0) > 0.2, 'it ages');
  t.true(((await standing(daprd)).get('group_oldest_unsettled_seconds slow') ?? 0) < 600, 'seconds');
  release();
  await shows(t, daprd, { 'group_lag slow': 0, 'group_pending slow': 0, 'group_oldest_unsettled_seconds slow': 0 });
});

test('a broker that is away or hangs is told as down, without figures and without holding up the scrape', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders' }] });
  t.teardown(() => app.close());
  const redis = componentFile('pubsub.redis', { redisHost: server.address, redisPassword: '' });
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'pubsub.yaml': redis } });
  await shows(t, daprd, { up: 1, 'group_lag orders': 0 });
  server.signal('SIGSTOP');
  await shows(t, daprd, { up: 0, 'group_lag orders': undefined, 'subscription_open orders': 1 });
  const began = performance.now();
  await standing(daprd);
  t.true(performance.now() - began < 8000, 'sooner than those who scrape give up');
  server.signal('SIGCONT');
  await shows(t, daprd, { up: 1, 'group_lag orders': 0 });
  await server.kill();
  await shows(t, daprd, { up: 0, 'group_lag orders': undefined });
  const away = /cannot be reached.* component="pubsub \(pubsub\.redis\/v1\)" .*scope=dapr\.contrib/;
  await until(() => away.test(daprd.log()), 'the log says which component it is about');
  await server.start();
  await shows(t, daprd, { up: 1, 'group_lag orders': 0 });
});

test('while the app is unhealthy its subscriptions are shown as not open, and what waits for them is counted', async (t) => {
  const server = await RedisServer.start(t.teardown);
  let isWell = true;
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders' }],
    get: () => (isWell ? 200 : 500),
  });
  t.teardown(() => app.close());
  const redis = componentFile('pubsub.redis', { redisHost: server.address, redisPassword: '' });
  const health = ['--enable-app-health-check', '--app-health-probe-interval', '1', '--app-health-threshold', '1'];
  const daprd = await startDaprd(t, { appPort: app.port, args: health, resources: { 'pubsub.yaml': redis } });
  await shows(t, daprd, { 'subscription_open orders': 1 });
  isWell = false;
  await shows(t, daprd, { 'subscription_open orders': 0 });
  await publish(daprd, 'orders', 1);
  await shows(t, daprd, { up: 1, 'group_lag orders': 1 });
  isWell = true;
  await shows(t, daprd, { 'subscription_open orders': 1, 'group_lag orders': 0 });
});
