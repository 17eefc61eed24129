import { connect } from 'node:net';
import test from 'ava';
import { componentFile, publish, startDaprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const subscribeTo = (...topics: string[]): object[] =>
  topics.map((topic) => ({ pubsubname: 'pubsub', topic, route: `/${topic}` }));

test('a published event reaches the app as a CloudEvent, with the headers that SDKs read', async (t) => {
  const app = await startHttpApp({ subscribe: subscribeTo('orders') });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const response = await publish(daprd, 'orders', { n: 1 });
  t.is(response.status, 204);
  t.is(await response.text(), '');
  const [delivery] = await until(() => app.received.length === 1 && app.received, 'the event arrives');
  t.is(delivery?.path, '/orders');
  t.is(delivery?.headers['content-type'], 'application/cloudevents+json');
  t.is(delivery?.headers['pubsubname'], 'pubsub');
  t.is(delivery?.headers['traceparent'], `00-${'0'.repeat(32)}-${'0'.repeat(16)}-00`);
  t.like(delivery?.event, { data: { n: 1 }, topic: 'orders', pubsubname: 'pubsub', source: 'app' });
});

test("a publisher's metadata comes back as headers; what cannot be a header does not cost the delivery", async (t) => {
  const app = await startHttpApp({ subscribe: subscribeTo('meta') });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const query = new URLSearchParams({
    'metadata.partitionKey': 'k',
    'metadata.content-length': '3',
    'metadata.host': 'evil',
    'metadata.a b': 'x',
    'metadata.nul': '\0',
    'metadata.unicode': 'ż',
  });
  t.is((await publish(daprd, 'meta', '1', { query: String(query) })).status, 204);
  const [delivery] = await until(() => app.received.length === 1 && app.received, 'the event arrives');
  t.is(delivery?.headers['partitionkey'], 'k');
  t.is(Buffer.from(String(delivery?.headers['unicode']), 'latin1').toString(), 'ż');
  t.is(delivery?.headers['host'], `127.0.0.1:${app.port}`);
  t.is(delivery?.headers['nul'], undefined);
});

test('a trace is carried from the publisher to the app', async (t) => {
  const app = await startHttpApp({ subscribe: subscribeTo('traced') });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const response = await fetch(`${daprd.http}/v1.0/publish/pubsub/traced`, {
    method: 'POST',
    headers: { traceparent, tracestate: 'k=v' },
    body: 'x',
  });
  t.is(response.headers.get('traceparent'), traceparent);
  const [delivery] = await until(() => app.received.length === 1 && app.received, 'the event arrives');
  t.is(delivery?.headers['traceparent'], traceparent);
  t.is(delivery?.headers['tracestate'], 'k=v');
  t.like(delivery?.event, { traceparent, traceid: traceparent, tracestate: 'k=v' });
});

test('raw bytes are published untouched and delivered wrapped', async (t) => {
  const app = await startHttpApp({
    subscribe: [
      { pubsubname: 'pubsub', topic: 'raw', route: '/raw', metadata: { rawPayload: 'true' } },
      ...subscribeTo('plain'),
    ],
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const query = 'metadata.rawPayload=true';
  const bytes = Buffer.from([0, 1, 254, 255]);
  for (const topic of ['raw', 'plain']) t.is((await publish(daprd, topic, bytes, { query })).status, 204);
  await until(() => app.received.length === 2, 'both events arrive');
  for (const { event } of app.received) {
    t.like(event, { data_base64: bytes.toString('base64'), datacontenttype: 'application/octet-stream' });
  }
});

interface ErrorBody {
  errorCode: string;
  message: string;
  details?: { '@type': string; reason?: string; metadata?: object }[];
}

test('errors have the status, the code and the details that clients look at', async (t) => {
  const scoped = componentFile('pubsub.in-memory', { publishingScopes: 'app=only' });
  const daprd = await startDaprd(t, { resources: { 'p.yaml': scoped } });
  const cases: [Promise<Response>, number, string, string?][] = [
    [publish(daprd, 't', '1', { pubsub: 'nope' }), 404, 'ERR_PUBSUB_NOT_FOUND', 'DAPR_PUBSUB_NOT_FOUND'],
    [publish(daprd, 't', '1'), 403, 'ERR_PUBSUB_FORBIDDEN', 'DAPR_PUBSUB_FORBIDDEN'],
    [
      publish(daprd, 'only', '1', { query: 'metadata.rawPayload=maybe' }),
      400,
      'ERR_PUBSUB_REQUEST_METADATA',
      'DAPR_PUBSUB_METADATA_DESERIALIZATION',
    ],
    [
      publish(daprd, 'only', '{x', { type: 'application/cloudevents+json' }),
      500,
      'ERR_PUBSUB_CLOUD_EVENTS_SER',
      'DAPR_PUBSUB_CLOUD_EVENT_CREATION',
    ],
    [fetch(`${daprd.http}/v1.0/publish/pubsub/t`), 404, 'ERR_DIRECT_INVOKE'],
    [fetch(`${daprd.http}/v1.0/publish/pubsub/`, { method: 'POST' }), 404, 'ERR_DIRECT_INVOKE'],
    [fetch(`${daprd.http}/anything`), 404, 'ERR_DIRECT_INVOKE'],
  ];
  for (const [request, status, errorCode, reason] of cases) {
    const response = await request;
    const body = (await response.json()) as ErrorBody;
    t.is(response.status, status, errorCode);
    t.is(response.headers.get('content-type'), 'application/json');
    t.is(body.errorCode, errorCode);
    t.is(body.details?.at(-1)?.reason, reason);
  }
});

test('a body past the limit is refused in the words that Dapr uses, and the next request is served', async (t) => {
  const daprd = await startDaprd(t, { args: ['--max-body-size', '1Ki'] });
  const response = await publish(daprd, 't', 'x'.repeat(1025), { type: 'text/plain' });
  t.is(response.status, 500);
  t.like(await response.json(), {
    errorCode: 'ERR_PUBSUB_PUBLISH_MESSAGE',
    message: 'error when publishing to topic t in pubsub pubsub: stream too large',
  });
  t.is((await publish(daprd, 't', 'x'.repeat(1024), { type: 'text/plain' })).status, 204);
});

test('a token is asked for everywhere but at health checks', async (t) => {
  const daprd = await startDaprd(t, { env: { DAPR_API_TOKEN: 'secret' } });
  for (const path of ['/v1.0/healthz', '/v1.0/healthz/outbound']) t.is((await fetch(daprd.http + path)).status, 204);
  for (const path of [
    '/v1.0/metadata',
    '//v1.0/metadata',
    '/anything',
    '/v1.0/healthz/../metadata',
    '/v1.0/healthz%2f',
  ]) {
    const response = await fetch(daprd.http + path);
    t.is(response.status, 401, path);
    t.is(await response.text(), 'invalid api token\n');
  }
  t.is((await publish(daprd, 't', '1')).status, 401);
  const allowed = { headers: { 'dapr-api-token': 'secret' } };
  t.is((await fetch(`${daprd.http}/v1.0/metadata`, allowed)).status, 200);
  t.is((await fetch(`${daprd.http}/v1.0/metadata`, { headers: { 'dapr-api-token': 'secret2' } })).status, 401);
});

test('garbage on the port harms nobody', async (t) => {
  const daprd = await startDaprd(t);
  for (const garbage of [
    '\0\0\0',
    'GET\r\n\r\n',
    'POST /v1.0/publish/pubsub/t HTTP/1.1\r\ncontent-length: x\r\n\r\n',
    `GET / HTTP/1.1\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`,
  ]) {
    const socket = connect(daprd.httpPort, '127.0.0.1').on('error', () => undefined);
    socket.end(garbage);
    await new Promise((resolve) => socket.once('close', resolve).resume());
  }
  t.is((await publish(daprd, 't', '1')).status, 204);
});

test('metadata tells what is loaded, and keeps what clients put into it', async (t) => {
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'a', route: 'a' }] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  t.is((await fetch(`${daprd.http}/v1.0/metadata/my%20key+x`, { method: 'PUT', body: 'v' })).status, 204);
  const metadata = (await (await fetch(`${daprd.http}/v1.0/metadata`)).json()) as Record<string, unknown>;
  t.like(metadata, {
    id: 'app',
    components: [{ name: 'pubsub', type: 'pubsub.in-memory', version: 'v1', capabilities: ['SUBSCRIBE_WILDCARDS'] }],
    subscriptions: [
      { pubsubname: 'pubsub', topic: 'a', rules: [{ path: 'a' }], deadLetterTopic: '', type: 'PROGRAMMATIC' },
    ],
    appConnectionProperties: { port: app.port, protocol: 'http', channelAddress: '127.0.0.1' },
    actorRuntime: { runtimeStatus: 'DISABLED', hostReady: false, placement: 'placement: disconnected' },
  });
  t.is((metadata['extended'] as Record<string, string>)['my key x'], 'v');
  t.regex(String(metadata['runtimeVersion']), /^\d+\.\d+\.\d+/);
});

test('health waits for the app, outbound health does not', async (t) => {
  const daprd = await startDaprd(t, { appPort: 1, ready: false });
  t.is((await fetch(`${daprd.http}/v1.0/healthz/outbound`)).status, 204);
  const response = await fetch(`${daprd.http}/v1.0/healthz`);
  t.is(response.status, 500);
  t.like(await response.json(), { errorCode: 'ERR_HEALTH_NOT_READY', message: 'dapr is not ready: [runtime]' });
  t.is((await publish(daprd, 't', '1')).status, 204);
  const other = await fetch(`${daprd.http}/v1.0/healthz?appid=other`);
  t.like(await other.json(), { errorCode: 'ERR_HEALTH_APPID_NOT_MATCH' });
});

test('both loopback families are served', async (t) => {
  const daprd = await startDaprd(t);
  for (const host of ['127.0.0.1', '[::1]']) {
    t.is((await fetch(`http://${host}:${daprd.httpPort}/v1.0/healthz`)).status, 204);
  }
});

test('the shutdown endpoint answers, then stops the sidecar with exit code 0', async (t) => {
  const daprd = await startDaprd(t);
  t.is((await fetch(`${daprd.http}/v1.0/shutdown`, { method: 'POST' })).status, 204);
  t.is(await daprd.stop('SIGCONT'), 0);
  t.true(await until(() => daprd.log().includes('Shutdown requested via API'), 'it is logged'));
  t.true(await until(() => daprd.log().includes('Daprd shutdown gracefully'), 'it is logged'));
});

test('a forced shutdown ends at once with exit code 1', async (t) => {
  const daprd = await startDaprd(t);
  const headers = { 'dapr-force-shutdown': 'True' };
  t.is((await fetch(`${daprd.http}/v1.0/shutdown`, { method: 'POST', headers })).status, 204);
  t.is(await daprd.stop('SIGCONT'), 1);
});

test('an idle connection does not delay the exit', async (t) => {
  const daprd = await startDaprd(t, { args: ['--dapr-graceful-shutdown-seconds', '60'] });
  const sockets = Array.from({ length: 5 }, () => connect(daprd.httpPort, '127.0.0.1').on('error', () => undefined));
  await fetch(`${daprd.http}/v1.0/healthz`);
  const started = performance.now();
  t.is(await daprd.stop(), 0);
  t.true(performance.now() - started < 20_000);
  for (const socket of sockets) socket.destroy();
});

test('metrics count what was published and delivered', async (t) => {
  const app = await startHttpApp({ subscribe: subscribeTo('counted') });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  await publish(daprd, 'counted', '1');
  await until(() => app.received.length === 1, 'the event arrives');
  const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${daprd.metricsPort}/metrics`)).text();
  const egress =
    'dapr_component_pubsub_egress_count{app_id="app",component="pubsub",namespace="",success="true",topic="counted"} 1';
  const ingress =
    'dapr_component_pubsub_ingress_count{app_id="app",component="pubsub",namespace="",process_status="success",status="success",topic="counted"} 1';
  await until(async () => (await scrape()).includes(ingress), 'the delivery is counted');
  t.true((await scrape()).includes(egress));
  const entries = [1, 2].map((event) => ({ entryId: String(event), event, contentType: 'application/json' }));
  const headers = { 'content-type': 'application/json' };
  const bulk = `${daprd.http}/v1.0/publish/bulk/pubsub/counted`;
  t.is((await fetch(bulk, { method: 'POST', headers, body: JSON.stringify(entries) })).status, 204);
  t.true((await scrape()).includes(egress.replace('egress_count', 'egress_bulk_count')));
  t.true((await scrape()).includes(egress));
  t.true((await scrape()).includes('# TYPE dapr_component_pubsub_ingress_count counter'));
  t.true((await scrape()).includes('dapr_runtime_component_init_total{app_id="app",component="pubsub.in-memory"} 1'));
});
