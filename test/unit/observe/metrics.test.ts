import test from 'ava';
import type { Metrics } from '../../../src/observe/metrics.ts';
import { SidecarError } from '../../../src/core/errors.ts';
import { openMetrics, type MetricsSettings } from '../../../src/observe/metrics.ts';
import { memoryLog } from '../config/_support.ts';

const DEFAULTS: MetricsSettings = {
  increasedCardinality: true,
  pathMatching: [],
  excludeVerbs: false,
  latencyBuckets: [],
  recordErrorCodes: false,
  rules: [],
};

const open = (settings: Partial<MetricsSettings> = {}, log = memoryLog()): Promise<Metrics> =>
  openMetrics({ appId: 'app', namespace: 'ns' }, { ...DEFAULTS, ...settings }, log);

const linesOf = (metrics: Metrics, name: string): string[] =>
  metrics
    .text()
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`));

const sumOf = (lines: readonly string[]): number =>
  lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);

const request = (path: string, status = 204) => ({ method: 'POST', path, status, received: 2000, sent: 0, ms: 1.5 });

test('topics and paths without end do not make series without end', async (t) => {
  const metrics = await open();
  for (let i = 0; i < 3000; i++) {
    metrics.onPublished({ pubsub: 'pubsub', topic: `topic-${i}`, ms: 1, failed: 0, isBulk: false });
    metrics.traffic.httpServed(request(`/v1.0/publish/pubsub/topic-${i}`));
  }
  for (const name of ['dapr_component_pubsub_egress_count', 'dapr_http_server_request_count']) {
    const counts = linesOf(metrics, name);
    t.true(counts.length < 2500, name);
    t.is(sumOf(counts), 3000, name);
    t.true(counts.some((line) => line.includes('="_other"')));
  }
});

test('a method that HTTP does not know makes no series of its own', async (t) => {
  const metrics = await open();
  for (const method of ['POST', 'A', 'B']) metrics.traffic.httpServed({ ...request('/x'), method });
  t.deepEqual(linesOf(metrics, 'dapr_http_server_request_count'), [
    'dapr_http_server_request_count{app_id="app",method="POST",path="/x",status="204"} 1',
    'dapr_http_server_request_count{app_id="app",method="_other",path="/x",status="204"} 2',
  ]);
});

test('batches and components are counted', async (t) => {
  const metrics = await open();
  metrics.onComponent('pubsub', 'pubsub.redis');
  metrics.onComponent('other', 'pubsub.nothing', 'creation');
  metrics.onBatch({ pubsub: 'pubsub', topic: 'orders', ms: 1, answers: ['success', 'success', 'retry'] });
  metrics.onBatch({ pubsub: 'pubsub', topic: 'orders', ms: 1, answers: ['drop'] });
  const lines = metrics.text().split('\n');
  const batch = (status: string): string =>
    `{app_id="app",component="pubsub",namespace="ns",process_status="${status}",topic="orders"}`;
  for (const line of [
    `dapr_component_pubsub_ingress_bulk_count${batch('')} 2`,
    `dapr_component_pubsub_ingress_bulk_event_count${batch('SUCCESS')} 2`,
    `dapr_component_pubsub_ingress_bulk_event_count${batch('RETRY')} 1`,
    `dapr_component_pubsub_ingress_bulk_event_count${batch('DROP')} 1`,
    'dapr_runtime_component_loaded{app_id="app"} 1',
    'dapr_runtime_component_init_total{app_id="app",component="pubsub.redis"} 1',
    'dapr_runtime_component_init_fail_total{app_id="app",component="pubsub.nothing",componentName="other",reason="creation"} 1',
  ]) {
    t.true(lines.includes(line), line);
  }
});

test('what was counted and never took any time has a count and no histogram', async (t) => {
  const metrics = await open();
  metrics.onProcessed('pubsub', 'orders', 'drop', 'drop', 0);
  t.is(linesOf(metrics, 'dapr_component_pubsub_ingress_count').length, 1);
  t.false(metrics.text().includes('ingress_latencies'));
  metrics.onProcessed('pubsub', 'orders', 'drop', 'drop', 1);
  t.is(linesOf(metrics, 'dapr_component_pubsub_ingress_latencies_count').length, 1);
});

test('a histogram has what is not above each bound, their sum and how many there were', async (t) => {
  const metrics = await open({ latencyBuckets: [1, 10] });
  for (const ms of [0.5, 1, 7, 70]) metrics.traffic.grpcServed({ method: '/a.B/C', code: 0, ms });
  const of = 'app_id="app",grpc_server_method="/a.B/C",grpc_server_status="OK"';
  const lines = metrics.text().split('\n');
  const at = lines.indexOf('# TYPE dapr_grpc_io_server_server_latency histogram');
  t.deepEqual(lines.slice(at + 1, at + 6), [
    `dapr_grpc_io_server_server_latency_bucket{${of},le="1"} 2`,
    `dapr_grpc_io_server_server_latency_bucket{${of},le="10"} 3`,
    `dapr_grpc_io_server_server_latency_bucket{${of},le="+Inf"} 4`,
    `dapr_grpc_io_server_server_latency_sum{${of}} 78.5`,
    `dapr_grpc_io_server_server_latency_count{${of}} 4`,
  ]);
});

test('what stands in a label cannot end it', async (t) => {
  const metrics = await open();
  metrics.onPublished({ pubsub: 'p', topic: 'a"b\\c\nd', ms: 1, failed: 0, isBulk: false });
  t.true(metrics.text().includes('topic="a\\"b\\\\c\\nd"'));
});

test('paths are labels as the operator wants them', async (t) => {
  const pathOf = async (settings: Partial<MetricsSettings>, path: string): Promise<string | undefined> => {
    const metrics = await open(settings);
    metrics.traffic.httpServed(request(path));
    return /path="([^"]*)"/.exec(linesOf(metrics, 'dapr_http_server_request_count').join())?.[1];
  };
  const low = { increasedCardinality: false };
  t.is(await pathOf({}, '/v1.0/publish/a/b'), '/v1.0/publish/a/b');
  t.is(await pathOf(low, '/v1.0/publish/a/b'), '');
  const pathMatching = [
    '/v1.0/publish/pubsub/{topic}',
    '/v1.0/publish/pubsub/orders',
    '/v1.0/publish/{rest...}',
    '/orders/{id}',
    '/files/',
    '/end/{$}',
  ];
  for (const [path, label] of [
    ['/v1.0/publish/pubsub/orders', '/v1.0/publish/pubsub/orders'],
    ['/v1.0/publish/pubsub/x', '/v1.0/publish/pubsub/{topic}'],
    ['/v1.0/publish/pubsub/x/y', '/v1.0/publish/{rest...}'],
    ['/v1.0/invoke/me/method/orders/7', '/v1.0/invoke/{app_id}/method/orders/{id}'],
    ['/orders/7', '/orders/{id}'],
    ['/orders/', ''],
    ['/files/a/b', '/files/'],
    ['/end/', '/end/{$}'],
    ['/end/x', ''],
  ] as const) {
    t.is(await pathOf({ ...low, pathMatching }, path), label, path);
  }
  t.is(await pathOf({ pathMatching }, '/orders/7/8'), '/orders/7/8');
});

test('towards the app paths are labels also where those of the API are not', async (t) => {
  const metrics = await open({ increasedCardinality: false, excludeVerbs: true });
  metrics.traffic.httpCalled({ ...request('/orders', 200), sent: 30 });
  t.deepEqual(linesOf(metrics, 'dapr_http_client_completed_count'), [
    'dapr_http_client_completed_count{app_id="app",method="",path="/orders",status="200"} 1',
  ]);
  t.true(
    metrics.text().includes('dapr_http_client_sent_bytes_sum{app_id="app",method="",path="/orders",status=""} 30'),
  );
  t.true(metrics.text().includes('dapr_http_client_received_bytes_bucket{app_id="app",le="1024"} 0'));
  t.true(metrics.text().includes('dapr_http_client_received_bytes_bucket{app_id="app",le="2048"} 1'));
});

test('rules change what stands in a label of a metric; one that is no pattern is told of', async (t) => {
  const log = memoryLog();
  const rule = { name: 'dapr_component_pubsub_egress_count', labels: [] as { name: string; regex: object }[] };
  rule.labels.push({ name: 'topic', regex: { 'orders-$1': 'orders-([a-z])[0-9]+', x: '(' } });
  const metrics = await open({ rules: [rule as never] }, log);
  for (const topic of ['orders-a1', 'orders-a2', 'other']) {
    metrics.onPublished({ pubsub: 'p', topic, ms: 1, failed: 0, isBulk: false });
  }
  const counts = linesOf(metrics, 'dapr_component_pubsub_egress_count');
  t.true(
    counts.some((line) => line.endsWith('topic="orders-a"} 2')),
    counts.join(),
  );
  t.is(counts.length, 2);
  t.true(
    metrics
      .text()
      .includes(
        'dapr_component_pubsub_egress_latencies_count{app_id="app",component="p",namespace="ns",success="true",topic="orders-a1"}',
      ),
  );
  t.is(log.lines.filter((line) => line.startsWith('warn')).length, 1);
});

test('errors that Dapr has no code for are not counted, others where that is asked for', async (t) => {
  const metrics = await open({ recordErrorCodes: true });
  for (const error of [new Error('a surprise'), new SidecarError('topic-empty', 'topic is empty')]) {
    metrics.onError?.(SidecarError.from(error));
  }
  t.deepEqual(linesOf(metrics, 'dapr_error_code_total'), [
    'dapr_error_code_total{app_id="app",category="pubsub",error_code="ERR_TOPIC_NAME_EMPTY"} 1',
  ]);
});
