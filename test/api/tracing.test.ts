import { writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { collectGrpc, collectHttp, type CollectedSpan, type Collector } from '../_support/collector.ts';
import { publish, startDaprd, temporaryDirectory, type Daprd, type DaprdOptions } from '../_support/daprd.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { startHttpApp, type HttpApp, type HttpAppOptions } from '../_support/http-app.ts';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const CALLER = `00-${TRACE}-b7ad6b7169203331-01`;
const FAST = { OTEL_BSP_SCHEDULE_DELAY: '20' };

/** A sidecar with `tracing` in its Configuration. */
async function sidecar(t: ExecutionContext, tracing: string, options: DaprdOptions = {}): Promise<Daprd> {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'config.yaml');
  await writeFile(
    file,
    `apiVersion: dapr.io/v1alpha1\nkind: Configuration\nspec:\n  tracing:\n${tracing.replaceAll(/^/gm, '    ')}\n`,
  );
  const args = ['--config', file, ...(options.args ?? [])];
  return startDaprd(t, { ...options, directory, args, env: { ...FAST, ...options.env } });
}

const overHttp = ({ port }: Collector, more = ''): string =>
  `samplingRate: "1"\notel: {endpointAddress: "127.0.0.1:${port}", protocol: http, isSecure: false${more}}`;
const overGrpc = ({ port }: Collector, more = ''): string =>
  `samplingRate: "1"\notel: {endpointAddress: "127.0.0.1:${port}", protocol: grpc, isSecure: false${more}}`;

async function app(t: ExecutionContext, options: HttpAppOptions): Promise<HttpApp> {
  const started = await startHttpApp(options);
  t.teardown(() => started.close());
  return started;
}
/** Waits until so many spans of each name are there: they are exported one batch after another. */
const exported = (collector: Collector, counts: Readonly<Record<string, number>>): Promise<unknown> =>
  until(
    () => Object.entries(counts).every(([name, count]) => collector.named(name).length === count),
    `${JSON.stringify(counts)} are exported`,
  );
const sub = (topic: string): object => ({ pubsubname: 'pubsub', topic, route: `/${topic}` });
const traceparentOf = ({ traceId, spanId }: CollectedSpan): string => `00-${traceId}-${spanId}-01`;

function publishTraced({ http }: Daprd, topic: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${http}/v1.0/publish/pubsub/${topic}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: CALLER, tracestate: 'vendor=1', ...headers },
    body: '{"n":1}',
  });
}

test('the span of a publish is a child of the caller, that of the delivery its child, and the app gets that one', async (t) => {
  const collector = await collectHttp(t);
  const receiver = await app(t, { subscribe: [sub('line')] });
  const daprd = await sidecar(t, overHttp(collector), { appPort: receiver.port });
  const response = await publishTraced(daprd, 'line', { 'dapr-app-id': 'x', 'dapr-api-token': 'secret' });
  await exported(collector, { 'pubsub/line': 1, '/v1.0/publish/pubsub/line': 1 });
  const [sent] = collector.named('/v1.0/publish/pubsub/line');
  const [delivered] = collector.named('pubsub/line');
  if (!sent || !delivered) throw new Error('a span is missing');
  t.like(sent, { traceId: TRACE, parentSpanId: 'b7ad6b7169203331', tracestate: 'vendor=1', kind: 3, fault: '' });
  t.like(delivered, { traceId: TRACE, parentSpanId: sent.spanId, tracestate: 'vendor=1', kind: 3, fault: '' });
  t.is(response.headers.get('traceparent'), traceparentOf(sent));
  t.is(response.headers.get('tracestate'), 'vendor=1');
  const [received] = receiver.received;
  t.is(received?.event['traceparent'], traceparentOf(sent));
  t.is(received?.headers['traceparent'], traceparentOf(delivered));
  t.like(sent.attributes, {
    'messaging.system': 'pubsub',
    'messaging.destination.name': 'line',
    'rpc.service': 'Dapr',
    'dapr.protocol': 'http',
    'dapr.api': 'POST /v1.0/publish/pubsub/line',
    'dapr.status_code': '204',
    'http.request.method': 'POST',
    'dapr-app-id': 'x',
  });
  t.false(JSON.stringify(collector.spans).includes('secret'));
  t.like(delivered.attributes, { 'messaging.system': 'pubsub', 'messaging.destination.name': 'line' });
  t.is(sent.resource['service.name'], 'app');
});

test('failures are faults of their spans, and each attempt has a span', async (t) => {
  const collector = await collectHttp(t);
  const receiver = await app(t, { subscribe: [sub('bad')], reply: (_, nth) => (nth === 1 ? 500 : 200) });
  const daprd = await sidecar(t, overHttp(collector), { appPort: receiver.port });
  await publishTraced(daprd, 'bad');
  await publish(daprd, 'bad', '1', { pubsub: 'nobody' });
  await exported(collector, { 'pubsub/bad': 2, '/v1.0/publish/nobody/bad': 1 });
  t.deepEqual(
    collector
      .named('pubsub/bad')
      .map(({ fault }) => fault !== '')
      .toSorted(),
    [false, true],
  );
  t.is(collector.named('/v1.0/publish/nobody/bad')[0]?.fault, 'Code(404): Not Found');
});

test('over gRPC: grpc-trace-bin goes in and out, bulk entries have spans of their own', async (t) => {
  const collector = await collectGrpc(t);
  const receiver = await startGrpcApp({ subscriptions: [{ topic: 'many' }] });
  t.teardown(() => receiver.close());
  const daprd = await sidecar(t, overGrpc(collector), { appPort: receiver.port, args: ['--app-protocol', 'grpc'] });
  const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const metadata = new Metadata();
  metadata.set('grpc-trace-bin', Buffer.from(`0000${TRACE}01b7ad6b716920333102${'01'}`, 'hex'));
  metadata.set('traceparent', `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`);
  metadata.set('baggage', 'user=1');
  const entries = ['a', 'b'].map((entryId) => ({
    entryId,
    event: Buffer.from(entryId),
    contentType: 'text/plain',
    metadata: {},
  }));
  const answered = await new Promise<Metadata>((resolve, reject) => {
    const call = client.bulkPublishEvent(
      { pubsubName: 'pubsub', topic: 'many', entries, metadata: {} },
      metadata,
      (error) => (error ? reject(error) : undefined),
    );
    call.on('metadata', resolve);
  });
  const method = '/dapr.proto.runtime.v1.Dapr/BulkPublishEvent';
  await exported(collector, { 'pubsub/many': 2, [method]: 1, [`${method}/`]: 2 });
  const [call] = collector.named(method);
  const sent = collector.named(`${method}/`);
  t.like(call, { traceId: TRACE, parentSpanId: 'b7ad6b7169203331', kind: 3 });
  t.like(call?.attributes, { 'dapr.protocol': 'grpc', 'dapr.api': method, 'messaging.destination.name': 'many' });
  t.deepEqual(
    sent.map(({ parentSpanId, kind }) => [parentSpanId, kind]),
    [
      [call?.spanId, 4],
      [call?.spanId, 4],
    ],
  );
  const parents = collector.named('pubsub/many').map(({ parentSpanId }) => parentSpanId);
  t.deepEqual(parents.toSorted(), sent.map(({ spanId }) => spanId).toSorted());
  t.is((answered.get('grpc-trace-bin')[0] as Buffer).toString('hex'), `0000${TRACE}01${call?.spanId}0201`);
  t.deepEqual(answered.get('baggage'), ['user=1']);
  const headers = receiver.received.map((one) =>
    (one.headers['grpc-trace-bin'] as Buffer).toString('hex').slice(38, 54),
  );
  t.deepEqual(
    headers.toSorted(),
    collector
      .named('pubsub/many')
      .map(({ spanId }) => spanId)
      .toSorted(),
  );
});

test('baggage that is none is refused over both protocols, and what is some comes back', async (t) => {
  const daprd = await startDaprd(t);
  const good = await publishTraced(daprd, 'x', { baggage: 'key1=value1,key2=v%20w;p=1' });
  t.is(good.headers.get('baggage'), 'key1=value1,key2=v%20w;p=1');
  t.is(good.headers.get('traceparent'), CALLER);
  const bad = await publishTraced(daprd, 'x', { baggage: 'no member' });
  t.deepEqual(
    [bad.status, await bad.text()],
    [400, 'invalid baggage header: invalid baggage list-member: "no member"\n'],
  );
  const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const metadata = new Metadata();
  metadata.set('baggage', '=1');
  const request = { pubsubName: 'pubsub', topic: 'x', data: Buffer.from('1'), dataContentType: '', metadata: {} };
  const error = await new Promise((resolve) => client.publishEvent(request, metadata, resolve));
  t.like(error, { code: 3, details: 'invalid baggage header: invalid key: ""' });
});

test('headers, service name and resource come from the Configuration and from the environment', async (t) => {
  const [first, second] = [await collectGrpc(t), await collectGrpc(t)];
  const env = {
    OTEL_EXPORTER_OTLP_HEADERS: 'x-from=environment',
    OTEL_SERVICE_NAME: 'shop',
    OTEL_RESOURCE_ATTRIBUTES: 'zone=a%20b,service.name=other',
  };
  const daprd = await sidecar(t, overGrpc(first, ', headers: "x-from=configuration,x-more=1"'), { env });
  await publishTraced(daprd, 'x');
  await until(() => first.spans.length === 1, 'it is exported');
  t.like(first.headers[0], { 'x-from': 'configuration', 'x-more': '1' });
  t.like(first.spans[0]?.resource, { 'service.name': 'shop', zone: 'a b' });

  const variables = {
    ...env,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${second.port}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
  };
  const other = await sidecar(t, 'samplingRate: "1"', { env: variables });
  await publishTraced(other, 'x');
  await until(() => second.spans.length === 1, 'it is exported to where the environment says');
  t.like(second.headers[0], { 'x-from': 'environment' });
});

test('Zipkin gets spans, the log too', async (t) => {
  const collector = await collectHttp(t, { status: 202 });
  const zipkin = `zipkin: {endpointAddress: "http://127.0.0.1:${collector.port}/api/v2/spans"}`;
  const daprd = await sidecar(t, `samplingRate: "1"\nstdout: true\n${zipkin}`);
  await publishTraced(daprd, 'x');
  await until(() => collector.spans.length === 1, 'it is exported');
  t.like(collector.spans[0], { name: '/v1.0/publish/pubsub/x', traceId: TRACE, parentSpanId: 'b7ad6b7169203331' });
  t.like(collector.spans[0]?.resource, { serviceName: 'app' });
  t.true(
    await until(
      () => new RegExp(`msg="Span: /v1.0/publish/pubsub/x".*traceId=${TRACE}`).test(daprd.log()),
      'it is logged',
    ),
  );
});

test('a Zipkin that never answers is told of, and its requests are given up', async (t) => {
  let [begun, open] = [0, 0];
  const silent = createServer((socket) => {
    begun++;
    open++;
    socket.on('error', () => undefined).on('close', () => open--);
    socket.resume();
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  t.teardown(() => silent.close());
  const { port } = silent.address() as AddressInfo;
  const zipkin = `zipkin: {endpointAddress: "http://127.0.0.1:${port}/api/v2/spans"}`;
  const daprd = await sidecar(t, `samplingRate: "1"\n${zipkin}`);
  await publishTraced(daprd, 'x');
  await until(() => begun > 0, 'it is asked');
  await until(() => daprd.log().includes('spans cannot be exported'), 'it is told');
  await until(() => open === 0, 'the request is given up');
  t.is(await daprd.stop(), 0);
});

test('what is sampled is said by the caller, and of new traces by the rate', async (t) => {
  const collector = await collectHttp(t);
  const rate = (value: string): string => overHttp(collector).replace('"1"', `"${value}"`);
  const daprd = await sidecar(t, rate('0.000001'));
  const unsampled = CALLER.replace(/01$/, '00');
  const answer = await publishTraced(daprd, 'x', { traceparent: unsampled });
  t.regex(answer.headers.get('traceparent') ?? '', new RegExp(`^00-${TRACE}-(?!b7ad6b7169203331)[0-9a-f]{16}-00$`));
  const root = await publish(daprd, 'x', '1');
  t.regex(root.headers.get('traceparent') ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
  await publishTraced(daprd, 'sampled');
  t.is(await daprd.stop(), 0);
  t.deepEqual(
    collector.spans.map(({ name }) => name),
    ['/v1.0/publish/pubsub/sampled'],
  );
  t.true(
    await until(
      () => daprd.log().includes('Dapr trace sampler initialized: ParentBased{root:TraceIDRatioBased{0.000001}'),
      'it is logged',
    ),
  );

  const off = await sidecar(t, rate('0'));
  const silent = await publishTraced(off, 'x');
  t.is(silent.headers.get('traceparent'), CALLER);
  await off.stop();
  t.is(collector.spans.length, 1);
});

test('a stop exports what is left, health checks and scrapes are no spans', async (t) => {
  const collector = await collectHttp(t);
  const daprd = await sidecar(t, overHttp(collector), { env: { OTEL_BSP_SCHEDULE_DELAY: '60000' } });
  await fetch(`${daprd.http}/v1.0/healthz`);
  await fetch(`http://127.0.0.1:${daprd.metricsPort}/metrics`);
  await fetch(`${daprd.http}/v1.0/metadata`);
  t.is(await daprd.stop(), 0);
  t.deepEqual(
    collector.spans.map(({ name }) => name),
    ['/v1.0/metadata'],
  );
});

for (const [name, open] of [
  ['is not there', undefined],
  ['refuses everything', 503],
  ['never answers', 0],
] as const) {
  test(`a collector that ${name} delays and loses no event, and costs one line in the log`, async (t) => {
    const collector = await collectHttp(t, { status: open ?? 200, port: await freePort() });
    if (open === undefined) await collector.close();
    const receiver = await app(t, { subscribe: [sub('on')] });
    const daprd = await sidecar(t, overHttp(collector, ', timeout: 200'), { appPort: receiver.port });
    const statuses = new Set<number>();
    for (let n = 0; n < 300; n++) statuses.add((await publishTraced(daprd, 'on')).status);
    t.deepEqual([...statuses], [204]);
    await until(() => receiver.received.length === 300, 'all arrive');
    await until(() => daprd.log().includes('spans cannot be exported'), 'it is told');
    t.is(await daprd.stop(), 0, 'the grace period is not over');
    t.is(daprd.log().split('spans cannot be exported').length, 2);
    t.false(daprd.log().includes('unexpected error'));
  });
}

test('what the address of a collector says of a password or a token is not in the log', async (t) => {
  const at = `me:s3cret@127.0.0.1:${await freePort()}`;
  const otel = `otel: {endpointAddress: "http://${at}/a?token=s3cret", protocol: http, isSecure: false, timeout: 200}`;
  const zipkin = `zipkin: {endpointAddress: "http://${at}/api/v2/spans?token=s3cret"}`;
  const daprd = await sidecar(t, `samplingRate: "1"\n${otel}\n${zipkin}`);
  await publishTraced(daprd, 'away');
  await until(() => daprd.log().split('spans cannot be exported').length === 3, 'both are told');
  t.regex(daprd.log(), /exported to http:\/\/\*\*\*@127\.0\.0\.1:\d+\/a\/v1\/traces\?\*\*\*: /);
  t.false(daprd.log().includes('s3cret'));
});

test('exports go on when the collector is back', async (t) => {
  const first = await collectHttp(t, { port: await freePort() });
  const daprd = await sidecar(t, overHttp(first, ', timeout: 200'));
  await first.close();
  await publishTraced(daprd, 'away');
  await until(() => daprd.log().includes('spans cannot be exported'), 'it is told');
  const second = await collectHttp(t, { port: first.port });
  await until(async () => {
    await publishTraced(daprd, 'back');
    return second.spans.length > 0;
  }, 'spans arrive again');
  await until(() => daprd.log().includes('again'), 'that is told');
  t.is(await daprd.stop(), 0);
});
