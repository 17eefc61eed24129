/** What a scrape shows of requests: names and labels of Dapr, over real listeners (contract 12.1). */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { MEMORY, publish, startDaprd, temporaryDirectory, type Daprd, type DaprdOptions } from '../_support/daprd.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const scrape = async ({ metricsPort }: Daprd): Promise<string[]> =>
  (await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text()).split('\n');

/** Waits until a scrape has all of these lines; fails with what it has of their names. */
async function shows(t: ExecutionContext, daprd: Daprd, wanted: readonly string[]): Promise<void> {
  let lines: readonly string[] = [];
  const missing = (): string[] => wanted.filter((line) => !lines.includes(line));
  await until(async () => {
    lines = await scrape(daprd);
    return missing().length === 0;
  }, 'the scrape has them').catch(() => undefined);
  const names = wanted.map((line) => line.slice(0, line.indexOf('{')));
  t.deepEqual(missing(), [], lines.filter((line) => names.some((name) => line.startsWith(`${name}{`))).join('\n'));
}

async function withConfiguration(t: ExecutionContext, spec: string, options: DaprdOptions = {}): Promise<Daprd> {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'config.yaml');
  await writeFile(file, `kind: Configuration\nspec:\n${spec}`);
  return startDaprd(t, { ...options, directory, args: ['--config', file, ...(options.args ?? [])] });
}

const subscribe = [{ pubsubname: 'pubsub', topic: 'orders', route: '/orders?a=b' }];

test('requests of the API over HTTP, and those to an app over HTTP, are counted', async (t) => {
  const app = await startHttpApp({ subscribe, get: (url) => (url === '/healthz' ? 200 : undefined) });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, args: ['--enable-app-health-check'] });
  await until(() => app.asked.includes('GET /dapr/subscribe'), 'the app is asked');
  t.is((await publish(daprd, 'orders', '1')).status, 204);
  t.is((await publish(daprd, 'x', '1', { pubsub: 'nope' })).status, 404);
  await until(() => app.received.length === 1, 'the event arrives');
  const served = (path: string, method: string, status: number): string =>
    `{app_id="app",method="${method}",path="${path}",status="${status}"} 1`;
  const orders = served('/v1.0/publish/pubsub/orders', 'POST', 204);
  await shows(t, daprd, [
    `dapr_http_server_request_count${orders}`,
    `dapr_http_server_response_count${orders}`,
    `dapr_http_server_latency_count${orders}`,
    `dapr_http_server_request_count${served('/v1.0/publish/nope/x', 'POST', 404)}`,
    '# TYPE dapr_http_server_request_bytes histogram',
    'dapr_http_server_request_bytes_sum{app_id="app"} 2',
    'dapr_http_server_request_bytes_count{app_id="app"} 2',
    'dapr_http_server_response_bytes_count{app_id="app"} 2',
    `dapr_http_client_completed_count${served('/orders', 'POST', 200)}`,
    `dapr_http_client_roundtrip_latency_count${served('/orders', 'POST', 200)}`,
    `dapr_http_client_completed_count${served('/dapr/subscribe', 'GET', 200)}`,
    `dapr_http_client_sent_bytes_count{app_id="app",method="POST",path="/orders",status=""} 1`,
  ]);
  t.true(
    (await scrape(daprd)).some((line) =>
      line.startsWith('dapr_http_healthprobes_completed_count{app_id="app",status="200"} '),
    ),
  );
});

test('calls of the API over gRPC, and those to an app over gRPC, are counted', async (t) => {
  const app = await startGrpcApp({ subscriptions: [{ topic: 'orders' }], healthy: () => true });
  t.teardown(() => app.close());
  const args = ['--app-protocol', 'grpc', '--enable-app-health-check'];
  const daprd = await startDaprd(t, { appPort: app.port, args });
  await until(() => app.asked.includes('ListTopicSubscriptions'), 'the app is asked');
  const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  for (const pubsubName of ['pubsub', 'nope']) {
    const event = { pubsubName, topic: 'orders', data: Buffer.from('1'), dataContentType: '', metadata: {} };
    await new Promise<void>((resolve) => client.publishEvent(event, () => resolve()));
  }
  await until(() => app.received.length === 1, 'the event arrives');
  const method = 'grpc_server_method="/dapr.proto.runtime.v1.Dapr/PublishEvent"';
  const call = 'grpc_client_method="/dapr.proto.runtime.v1.AppCallback/OnTopicEvent"';
  await shows(t, daprd, [
    `dapr_grpc_io_server_completed_rpcs{app_id="app",${method},grpc_server_status="OK"} 1`,
    `dapr_grpc_io_server_completed_rpcs{app_id="app",${method},grpc_server_status="InvalidArgument"} 1`,
    `dapr_grpc_io_server_server_latency_count{app_id="app",${method},grpc_server_status="OK"} 1`,
    `dapr_grpc_io_server_received_bytes_per_rpc_count{app_id="app",${method}} 2`,
    `dapr_grpc_io_server_received_bytes_per_rpc_sum{app_id="app",${method}} ${19 + 17}`,
    `dapr_grpc_io_server_sent_bytes_per_rpc_count{app_id="app",${method}} 2`,
    `dapr_grpc_io_client_completed_rpcs{app_id="app",${call},grpc_client_status="OK"} 1`,
    `dapr_grpc_io_client_roundtrip_latency_count{app_id="app",${call},grpc_client_status="OK"} 1`,
    `dapr_grpc_io_client_sent_bytes_per_rpc_count{app_id="app",${call}} 1`,
    `dapr_grpc_io_client_received_bytes_per_rpc_sum{app_id="app",${call}} 0`,
  ]);
  const probes = 'dapr_grpc_io_healthprobes_completed_count{app_id="app",grpc_client_status="OK"} ';
  t.true((await scrape(daprd)).some((line) => line.startsWith(probes)));
});

test('an app that does not answer is status 500 and Unavailable', async (t) => {
  const http = await startHttpApp({ subscribe, reply: () => 'cut' });
  t.teardown(() => http.close());
  const daprd = await startDaprd(t, { appPort: http.port });
  await publish(daprd, 'orders', '1');
  await until(async () => (await scrape(daprd)).some((line) => line.includes('path="/orders",status="500"')), 'it is');
  const grpc = await startGrpcApp({ subscriptions: [{ topic: 'orders' }], reply: () => -14 });
  t.teardown(() => grpc.close());
  const other = await startDaprd(t, { appPort: grpc.port, args: ['--app-protocol', 'grpc'] });
  await publish(other, 'orders', '1');
  await until(
    async () => (await scrape(other)).some((line) => line.includes('grpc_client_status="Unavailable"')),
    'it is',
  );
  t.pass();
});

test('a Configuration says what stands in the labels, which buckets there are, and that errors are counted', async (t) => {
  const spec =
    '  metrics:\n    latencyDistributionBuckets: [5, 60000]\n    recordErrorCodes: true\n    http:\n' +
    '      increasedCardinality: false\n      excludeVerbs: true\n      pathMatching: ["/v1.0/publish/pubsub/{topic}"]\n';
  const daprd = await withConfiguration(t, spec);
  for (const topic of ['a', 'b']) await publish(daprd, topic, '1');
  await publish(daprd, 'a', '1', { pubsub: 'nope' });
  await fetch(`${daprd.http}/v1.0/nothing`);
  const path = '{app_id="app",method="",path="/v1.0/publish/pubsub/{topic}",status="204"';
  await shows(t, daprd, [
    `dapr_http_server_request_count${path}} 2`,
    'dapr_http_server_request_count{app_id="app",method="",path="",status="404"} 2',
    `dapr_http_server_latency_bucket${path},le="60000"} 2`,
    `dapr_http_server_latency_bucket${path},le="+Inf"} 2`,
    'dapr_error_code_total{app_id="app",category="pubsub",error_code="ERR_PUBSUB_NOT_FOUND"} 1',
    'dapr_error_code_total{app_id="app",category="service-invocation",error_code="ERR_DIRECT_INVOKE"} 1',
  ]);
  const lines = await scrape(daprd);
  t.false(lines.some((line) => line.startsWith('dapr_http_server_response_count{')));
  const bounds = lines.filter((line) => line.startsWith(`dapr_http_server_latency_bucket${path}`));
  t.is(bounds.length, 3);
});

test('errors are not counted unless that is asked for', async (t) => {
  const daprd = await startDaprd(t);
  t.is((await publish(daprd, 'a', '1', { pubsub: 'nope' })).status, 404);
  await until(
    async () => (await scrape(daprd)).some((line) => line.includes('path="/v1.0/publish/nope/a"')),
    'it is counted',
  );
  t.false((await scrape(daprd)).some((line) => line.startsWith('dapr_error_code_total')));
});

test('where metrics are off nothing listens for scrapes', async (t) => {
  const daprd = await withConfiguration(t, '  metrics: { enabled: false }\n');
  t.is(daprd.metricsPort, 0);
  t.is((await publish(daprd, 'a', '1')).status, 204);
});

test('Resiliency resources, their policies and the states of breakers are counted', async (t) => {
  const app = await startHttpApp({ subscribe, reply: (_received, nth) => (nth < 3 ? 500 : 200) });
  t.teardown(() => app.close());
  const resiliency =
    'apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: { name: mine }\nspec:\n  policies:\n' +
    '    retries: { r: { duration: 10ms } }\n    timeouts: { t: 10s }\n' +
    '    circuitBreakers: { c: { trip: consecutiveFailures > 1, timeout: 20ms } }\n' +
    '  targets: { components: { pubsub: { inbound: { retry: r, timeout: t, circuitBreaker: c } } } }\n';
  const daprd = await startDaprd(t, {
    appPort: app.port,
    resources: { 'pubsub.yaml': MEMORY, 'resiliency.yaml': resiliency },
  });
  await publish(daprd, 'orders', '1');
  await until(() => app.received.length === 3, 'the third delivery succeeds');
  const policy = (kind: string, status = ''): string =>
    `{app_id="app",flow_direction="inbound",name="mine",namespace="",policy="${kind}",status="${status}",target="Pubsub_pubsub"}`;
  await shows(t, daprd, [
    'dapr_resiliency_loaded{app_id="app",name="mine",namespace=""} 1',
    `dapr_resiliency_activations_total${policy('circuitbreaker', 'open')} 1`,
    `dapr_resiliency_cb_state${policy('circuitbreaker', 'closed')} 1`,
    `dapr_resiliency_cb_state${policy('circuitbreaker', 'open')} 0`,
    '# TYPE dapr_resiliency_cb_state gauge',
  ]);
  const lines = await scrape(daprd);
  for (const kind of ['retry', 'timeout']) {
    t.true(
      lines.some((line) => line.startsWith(`dapr_resiliency_count${policy(kind)} `)),
      kind,
    );
  }
  t.true(lines.some((line) => line.startsWith(`dapr_resiliency_activations_total${policy('retry')} `)));
});
