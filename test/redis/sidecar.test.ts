/** The sidecar on Redis, from outside. */

import test from 'ava';
import { publish, startDaprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { connectionsTo, DURABLE, RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';

const component = (address: string, more = 'initTimeout: 60s'): string => `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: pubsub
spec:
  type: pubsub.redis
  version: v1
  ${more}
  metadata:
  - name: redisHost
    value: ${address}
  - name: redisPassword
    value: ""
`;

test('what the app refused is delivered again, also when sidecar and server were killed meanwhile', async (t) => {
  const server = await RedisServer.start(t.teardown, DURABLE);
  let isWell = false;
  const handled = new Map<number, number>();
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders' }],
    reply: ({ event }) => {
      const seq = (event['data'] as { seq: number }).seq;
      if (isWell) handled.set(seq, (handled.get(seq) ?? 0) + 1);
      return isWell ? 200 : 500;
    },
  });
  t.teardown(() => app.close());
  const options = { appPort: app.port, resources: { 'pubsub.yaml': component(server.address) } };
  const first = await startDaprd(t, options);
  for (let seq = 0; seq < 10; seq++) t.is((await publish(first, 'orders', { seq })).status, 204);
  await until(() => app.received.length >= 10, 'the app refused them');
  await first.stop('SIGKILL');
  await server.kill();
  await server.start();
  isWell = true;
  const began = performance.now();
  const second = await startDaprd(t, options);
  await until(() => handled.size === 10, 'the app has them');
  t.log(`handled ${Math.round(performance.now() - began)} ms after the start of the next sidecar`);
  t.is(await second.stop(), 0);
});

test('a sidecar that is refused by the server ends and says why', async (t) => {
  const server = await RedisServer.start(t.teardown, ['--requirepass', 'secret'], { password: 'secret' });
  await t.throwsAsync(startDaprd(t, { resources: { 'pubsub.yaml': component(server.address) } }), {
    message: /error connecting to redis at 127\.0\.0\.1:\d+: NOAUTH Authentication required/,
  });
  const mistyped = component(server.address).replace('value: ""', 'value: "mistyped"');
  const { message } = await t.throwsAsync(startDaprd(t, { resources: { 'pubsub.yaml': mistyped } }));
  t.regex(message, /error connecting to redis at 127\.0\.0\.1:\d+: WRONGPASS invalid username-password pair/);
  t.notRegex(message, /mistyped/);
});

test('what failed once, with a status or without an answer, comes again soon', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders' }],
    reply: ({ event }, nth) => (nth > 1 ? 200 : (event['data'] as { cut: boolean }).cut ? 'cut' : 500),
  });
  t.teardown(() => app.close());
  const resources = { 'pubsub.yaml': component(server.address) };
  const daprd = await startDaprd(t, { appPort: app.port, resources });
  for (const cut of [true, false]) t.is((await publish(daprd, 'orders', { cut })).status, 204);
  await until(() => app.received.length === 4, 'both came again');
  for (const cut of [true, false]) {
    const [first, second] = app.received.filter(({ event }) => (event['data'] as { cut: boolean }).cut === cut);
    const took = (second?.at ?? Infinity) - (first?.at ?? 0);
    t.true(took > 500 && took < 15_000, `took ${took} ms`);
  }
  await until(async () => ((await server.ask('xpending', 'orders', 'app')) as [number])[0] === 0, 'both are settled');
});

test('without a server the sidecar ends after initTimeout, or goes on without when errors are to be ignored', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await server.kill();
  const absent = component(server.address, 'initTimeout: 1s');
  await t.throwsAsync(startDaprd(t, { resources: { 'pubsub.yaml': absent } }), {
    message: /redis at .* cannot be reached, trying again: connect ECONNREFUSED[^]*init timeout for component pubsub/,
  });
  const ignored = component(server.address, 'initTimeout: 1s\n  ignoreErrors: true');
  const daprd = await startDaprd(t, { resources: { 'pubsub.yaml': ignored } });
  t.is((await publish(daprd, 'orders', {})).status, 404);
  t.is(await connectionsTo(server.port, 1500), 0, 'nobody looks for the server any more');
});

test('a sidecar that still waits for its server ends at once when it is told to', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await server.kill();
  let pid = 0;
  const starting = startDaprd(t, {
    resources: { 'pubsub.yaml': component(server.address, 'initTimeout: 60s') },
    onSpawn: (spawned) => (pid = spawned),
  });
  const ended = t.throwsAsync(starting, { message: /the sidecar is shutting down/ });
  await until(() => connectionsTo(server.port, 300), 'it looks for the server');
  process.kill(pid, 'SIGTERM');
  const began = performance.now();
  await ended;
  t.true(performance.now() - began < 20_000, `took ${performance.now() - began} ms`);
});
