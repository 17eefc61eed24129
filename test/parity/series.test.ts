/** Prometheus series as public suites read them: labels in the order of the alphabet, empty ones written. */

import test from 'ava';
import { until } from '../_support/until.ts';
import { startParityApp } from './_app.ts';
import { startEcho, urlOf } from './_echo.ts';
import { configuration, configured, startSidecar, type Sidecar } from './_sidecar.ts';

test('what an app has in hand is counted by topic, and is nothing when it has answered', async (t) => {
  const { promise: released, resolve: release } = Promise.withResolvers<'success'>();
  const bulkSubscribe = { enabled: true, maxMessagesCount: 2, maxAwaitDurationMs: 10 };
  const topics = [
    { topic: 'a', route: '/a' },
    { topic: 'b', route: '/b' },
  ];
  const app = await startParityApp(t, 'http', [...topics, { topic: 'c', route: '/c', bulkSubscribe }], () => released);
  const sidecar = await startSidecar(t, { appPort: app.port });
  for (const topic of ['a', 'b', 'c']) t.is(await sidecar.publish(topic, 1), 204);
  const has = async (topic: string, count: number): Promise<boolean> =>
    (await sidecar.metrics()).includes(
      `dapr_component_pubsub_ingress_in_flight{app_id="app",component="pubsub",namespace="",topic="${topic}"} ${count}\n`,
    );
  t.regex(await sidecar.metrics(), /^# TYPE dapr_component_pubsub_ingress_in_flight gauge$/m);
  for (const topic of ['a', 'b']) await until(() => has(topic, 1), `one of ${topic}`);
  await until(() => has('c', 0), 'none of c, which was answered');
  release('success');
  for (const topic of ['a', 'b', 'c']) await until(() => has(topic, 0), `none of ${topic}`);
});

const PREFIX = '/v1.0/invoke/app/method';
const counted = (path: string, method = 'GET', status = 200): string =>
  `dapr_http_server_request_count{app_id="app",method="${method}",path="${path}",status="${status}"}`;

/** The value of a series, 0 where there is none. */
async function valueOf({ metrics }: Sidecar, series: string): Promise<number> {
  const line = (await metrics()).split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.slice(series.length) ?? 0);
}

test('each request over HTTP counts by its method, path and status, and SIGHUP begins anew', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port });
  await fetch(urlOf(sidecar, 'orders/1'));
  await fetch(urlOf(sidecar, 'orders/1'));
  t.is(await sidecar.publish('a"b', 'x'.repeat(3000)), 204);
  t.is(await sidecar.publish('a', 1, { pubsub: 'none' }), 404);
  const path = '/v1.0/publish/pubsub/a%22b';
  await until(async () => (await valueOf(sidecar, counted('/v1.0/publish/none/a', 'POST', 404))) === 1, 'all count');
  t.is(await valueOf(sidecar, counted(`${PREFIX}/orders/1`)), 2);
  t.is(await valueOf(sidecar, counted(path, 'POST', 204)), 1);
  t.is(await valueOf(sidecar, counted(path, 'POST', 204).replace('request_count', 'response_count')), 1);
  t.is(await valueOf(sidecar, counted(path, 'POST', 204).replace('request_count', 'latency_count')), 1);
  t.true((await valueOf(sidecar, counted('/v1.0/healthz', 'GET', 204))) >= 1);
  const below = (bytes: number): Promise<number> =>
    valueOf(sidecar, `dapr_http_server_request_bytes_bucket{app_id="app",le="${bytes}"}`);
  t.is((await below(4096)) - (await below(2048)), 1);
  sidecar.signal('SIGHUP');
  const count = (): Promise<number> => valueOf(sidecar, counted(`${PREFIX}/orders/1`)).catch(() => -1);
  await until(async () => (await count()) === 0, 'it begins anew', 20_000);
  await until(
    () =>
      fetch(urlOf(sidecar, 'orders/1')).then(
        ({ ok }) => ok,
        () => false,
      ),
    'it serves',
  );
  await until(async () => (await count()) === 1, 'it counts');
});

for (const increasedCardinality of [true, false]) {
  test(`paths that fit a pattern are told as it, others ${increasedCardinality ? 'as they are' : 'as none'}`, async (t) => {
    const app = await startEcho(t);
    const pathMatching = ['/orders/{id}', '/orders/7', '/orders', '/all/'].map((path) => `${PREFIX}${path}`);
    const http = { increasedCardinality, pathMatching, excludeVerbs: increasedCardinality };
    const metric = { http, latencyDistributionBuckets: [5, 50] };
    const { sidecar } = await configured(t, [configuration('c', { metric })], { appPort: app.port });
    for (const method of ['orders/1', 'orders/2', 'orders/7', 'orders', 'all/a/b', 'items/1']) {
      t.is((await fetch(urlOf(sidecar, method))).status, 200);
    }
    const last = increasedCardinality ? `${PREFIX}/items/1` : '';
    const of = (path: string): Promise<number> => valueOf(sidecar, counted(path, increasedCardinality ? '' : 'GET'));
    await until(async () => (await of(last)) === 1, 'the last one counts');
    t.is(await of(`${PREFIX}/orders/{id}`), 2);
    t.is(await of(`${PREFIX}/orders/7`), 1);
    t.is(await of(`${PREFIX}/orders`), 1);
    t.is(await of(`${PREFIX}/all/`), 1);
    const bounds = (await sidecar.metrics()).matchAll(/^dapr_(\w+)_latenc(?:y|ies)_bucket\{.*le="([^"]+)"/gm);
    t.deepEqual(new Set([...bounds].map(([, , bound]) => bound)), new Set(['5', '50', '+Inf']));
  });
}

test('each call over gRPC counts by its method and code', async (t) => {
  const sidecar = await startSidecar(t);
  t.is(await sidecar.publishGrpc('a', 'x'), 0);
  t.is(await sidecar.publishGrpc('a', 'x', { pubsub: 'none' }), 3);
  const of = (status: string): Promise<number> => {
    const method = '/dapr.proto.runtime.v1.Dapr/PublishEvent';
    const labels = `app_id="app",grpc_server_method="${method}",grpc_server_status="${status}"`;
    return valueOf(sidecar, `dapr_grpc_io_server_completed_rpcs{${labels}}`);
  };
  await until(async () => (await of('OK')) === 1, 'what succeeded counts');
  await until(async () => (await of('InvalidArgument')) === 1, 'what failed counts');
});

for (const recordErrorCodes of [true, false]) {
  test(`errors of the API count ${recordErrorCodes ? 'by their codes' : 'nowhere unless asked for'}`, async (t) => {
    const app = await startEcho(t);
    const spec = { metric: { recordErrorCodes } };
    const { sidecar } = await configured(t, [configuration('c', spec)], { appPort: app.port });
    t.is(await sidecar.publish('a', 1, { pubsub: 'none' }), 404);
    t.is(await sidecar.publishGrpc('', 'x'), 3);
    t.is(await sidecar.publishGrpc('a', 'x', { pubsub: 'none' }), 3);
    t.is((await fetch(`${sidecar.http}/v1.0/state/s/k`)).status, 404);
    t.is((await fetch(`${sidecar.http}/v1.0/healthz?appid=other`)).status, 500);
    const text = await sidecar.metrics();
    const lines = text.split('\n').filter((line) => line.startsWith('dapr_error_code_total{'));
    const counted = (category: string, code: string, count: number): string =>
      `dapr_error_code_total{app_id="app",category="${category}",error_code="${code}"} ${count}`;
    const all = [
      counted('health', 'ERR_HEALTH_APPID_NOT_MATCH', 1),
      counted('pubsub', 'ERR_PUBSUB_NOT_FOUND', 2),
      counted('pubsub', 'ERR_TOPIC_NAME_EMPTY', 1),
      counted('service-invocation', 'ERR_DIRECT_INVOKE', 1),
    ];
    const met = lines.filter((line) => !line.includes('_NOT_READY"'));
    t.deepEqual(met.toSorted(), recordErrorCodes ? all : []);
  });
}
