/** The sidecar around pub/sub: listeners, metadata, init endpoints, Configuration, hot reload, SIGHUP, shutdown. */

import { connect } from 'node:net';
import { writeFile } from 'node:fs/promises';
import test from 'ava';
import { startHttpApp } from '../_support/http-app.ts';
import { freePorts } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { startParityApp } from './_app.ts';
import { call, configuration, configured, declared, memory, startSidecar } from './_sidecar.ts';

const resiliency = (name: string, spec: object = { policies: { timeouts: { general: '5s' } } }): object => ({
  apiVersion: 'dapr.io/v1alpha1',
  kind: 'Resiliency',
  metadata: { name },
  spec,
});

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(socket.destroy() !== undefined));
    socket.once('error', () => resolve(false));
  });

test('every listener accepts connections, also beside a gRPC app that is said to speak HTTP', async (t) => {
  const app = await startParityApp(t, 'grpc', []);
  const sidecar = await startSidecar(t, { appPort: app.port, protocol: 'http' });
  for (const [name, port] of Object.entries(sidecar.ports)) t.true(await accepts(port), name);
  t.true(await until(() => sidecar.log().includes(`application discovered on port ${app.port}`), 'it is logged'));
  t.false(sidecar.log().includes('waiting for application to listen on port'));
  t.is(await sidecar.stop(), 0);
  t.true(await until(() => sidecar.log().includes('Daprd shutdown gracefully'), 'it is logged'));
});

test('metadata is the same on the API and on the public port', async (t) => {
  const app = await startParityApp(t, 'http', undefined);
  const rules = [{ match: 'event.type == "x"', path: '/x' }];
  const file = [memory('pubsub'), declared('v2alpha1', 's', { topic: 'a', routes: { rules } })];
  const sidecar = await startSidecar(t, { appPort: app.port, resources: { 'a.yaml': file } });
  const metadata = await sidecar.metadata();
  t.deepEqual(await (await fetch(`http://127.0.0.1:${sidecar.ports.public}/v1.0/metadata`)).json(), metadata);
  t.is((await fetch(`http://127.0.0.1:${sidecar.ports.public}/v1.0/healthz`)).status, 204);
  const version = /^(edge|\d+\.\d+\.\d+(-rc\.\d+)?)$/;
  t.is(metadata['id'], 'app');
  t.regex(String(metadata['runtimeVersion']), version);
  t.regex(String((metadata['extended'] as Record<string, unknown>)['daprRuntimeVersion']), version);
  t.like(metadata['appConnectionProperties'], { port: app.port, protocol: 'http', channelAddress: '127.0.0.1' });
  t.like(metadata.subscriptions?.[0], { rules, type: 'DECLARATIVE' });
});

test('actors are disabled and placement is disconnected, over both protocols', async (t) => {
  const sidecar = await startSidecar(t);
  const actors = { runtimeStatus: 'DISABLED', hostReady: false, placement: 'placement: disconnected' };
  t.like(await sidecar.metadata(), { actorRuntime: actors });
  const metadata = await call<{ actorRuntime: object }>(sidecar.client, 'getMetadata', {});
  t.like(metadata.actorRuntime, { ...actors, runtimeStatus: 1, hostReady: false });
  t.false('scheduler' in (await sidecar.metadata()));
});

test('the endpoints that are asked at start are asked in the name of the app', async (t) => {
  const { createServer } = await import('node:http');
  const asked = new Map<string, unknown>();
  const server = createServer((request, response) => {
    asked.set(String(request.url), request.headers['dapr-app-id']);
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close().closeAllConnections());
  await startSidecar(t, { appId: 'me', appPort: (server.address() as { port: number }).port });
  t.is(asked.get('/dapr/subscribe'), 'me');
  t.is(asked.get('/dapr/config'), 'me');
});

test('--disable-init-endpoints=config leaves the configuration of the app unasked', async (t) => {
  const app = await startHttpApp({ subscribe: [] });
  t.teardown(() => app.close());
  const sidecar = await startSidecar(t, { appPort: app.port, args: ['--disable-init-endpoints=config'] });
  t.true(await until(() => sidecar.log().includes('Skipping programmatic dapr configuration loading'), 'it is logged'));
  t.deepEqual(app.asked, ['GET /dapr/subscribe']);
});

for (const protocol of ['http', 'grpc'] as const) {
  test(`an app over ${protocol} that starts slowly is asked when it is well, once, and the sidecar is healthy before`, async (t) => {
    let well = false;
    let probes = 0;
    const asked = (): readonly string[] => (protocol === 'http' ? http.asked : grpc.asked);
    const { startGrpcApp } = await import('../_support/grpc-app.ts');
    const http = await startHttpApp({
      subscribe: [],
      get: (url) => (url === '/healthz' ? (probes++, well ? 200 : 503) : undefined),
    });
    const grpc = await startGrpcApp({ subscriptions: [], healthy: () => (probes++, well) });
    t.teardown(() => http.close());
    t.teardown(() => grpc.close());
    const appPort = protocol === 'http' ? http.port : grpc.port;
    const args = ['--enable-app-health-check=true', '--app-health-probe-interval=1', '--app-health-threshold=1'];
    await startSidecar(t, { appPort, protocol, args });
    const question = protocol === 'http' ? 'GET /dapr/config' : 'ListTopicSubscriptions';
    await until(() => probes >= 2, 'it was probed twice');
    t.false(asked().includes(question));
    well = true;
    await until(() => asked().includes(question), 'it is asked');
    const before = probes;
    await until(() => probes >= before + 2, 'it was probed twice more');
    t.is(asked().filter((what) => what === question).length, 1);
  });
}

test('of two Configuration files the later one decides about a feature', async (t) => {
  const feature = (name: string, enabled: boolean): object => ({ name, enabled });
  const { sidecar } = await configured(t, [
    configuration('one', { features: [feature('A', true)] }),
    configuration('two', { features: [feature('A', false), feature('B', true)] }),
  ]);
  const { enabledFeatures } = (await sidecar.metadata()) as { enabledFeatures: string[] };
  t.true(enabledFeatures.includes('B') && !enabledFeatures.includes('A'));
});

test('a middleware that nobody knows does not keep the sidecar from serving', async (t) => {
  const handlers = [{ name: 'odd', type: 'middleware.http.unknown' }];
  const { sidecar } = await configured(t, [configuration('c', { httpPipeline: { handlers } })]);
  t.is(await sidecar.publish('a', 1), 204);
});

test('a bad Resiliency is told of and the sidecar starts', async (t) => {
  const matching = { httpStatusCodes: '99999' };
  const retries = { pubsub: { policy: 'constant', duration: '1s', maxRetries: 3, matching } };
  const file = [memory('pubsub'), resiliency('myresiliency', { policies: { retries } })];
  const sidecar = await startSidecar(t, { resources: { 'a.yaml': file } });
  t.true(await until(() => sidecar.log().includes('Could not read resiliency policy myresiliency'), 'it is logged'));
  t.is(await sidecar.publish('a', 1), 204);
});

for (const [what, spec, reason] of [
  ['a type that is none', { type: 'workflow.dapr', version: 'v1' }, 'incorrect type workflow.dapr'],
  [
    'a version that is none',
    { type: 'pubsub.in-memory', version: 'v2' },
    "couldn't find message bus pubsub.in-memory/v2",
  ],
] as const) {
  test(`a component of ${what} is fatal, which a log of nothing but that tells`, async (t) => {
    const document = { ...memory('mine'), spec };
    const args = ['--log-level=fatal'];
    const sidecar = await startSidecar(t, { resources: { 'a.yaml': document }, args, ready: false });
    t.is(await sidecar.exited, 1);
    const [line = '', ...more] = sidecar.log().trim().split('\n');
    t.true(
      line.includes(`level=fatal msg="Fatal error from runtime: process component mine error: `) &&
        line.includes(reason),
      line,
    );
    t.deepEqual(more, []);
  });
}

test('without a component file none is there with --parity, as in Dapr', async (t) => {
  const sidecar = await startSidecar(t, { resources: {}, args: ['--parity'] });
  t.is((await sidecar.metadata())['components'], undefined);
  t.is(await sidecar.publish('a', 1), 404);
  await sidecar.write('pubsub.yaml', memory('pubsub'));
  await until(async () => (await sidecar.publish('a', 1)) === 204, 'one that is added later is opened');
});

test('flags that ask for what cannot be end a start as any failure does, and a flag that is none is exit code 2', async (t) => {
  const refused = await startSidecar(t, { args: ['--app-protocol=smoke'], ready: false });
  t.is(await refused.exited, 1);
  t.regex(refused.log(), /level=fatal msg="Fatal error from runtime: invalid value for 'app-protocol': smoke"/);
  const mistyped = await startSidecar(t, { args: ['--app-protokoll=http'], ready: false });
  t.is(await mistyped.exited, 2);
});

for (const ignoreErrors of [false, true]) {
  test(`a component that does not open is told of in Dapr's words, and ${ignoreErrors ? 'passed over' : 'the exit code is 1'}`, async (t) => {
    const [nowhere] = await freePorts(1);
    const metadata = [{ name: 'redisHost', value: `127.0.0.1:${nowhere}` }];
    const spec = { type: 'pubsub.redis', version: 'v1', initTimeout: '300ms', ignoreErrors, metadata };
    const resources = { 'a.yaml': { ...memory('mine'), spec } };
    const sidecar = await startSidecar(t, { resources, ready: ignoreErrors });
    const occurred = '[INIT_COMPONENT_FAILURE]: initialization error occurred for mine (pubsub.redis/v1): init timeout';
    const lines = [
      'level=error msg="Failed to init component mine (pubsub.redis/v1): init timeout for component mine',
      ...(ignoreErrors
        ? [`level=error msg="Ignoring error processing component: process component mine error: ${occurred}`]
        : [
            `level=warning msg="Error processing component, daprd will exit gracefully: process component mine error: ${occurred}`,
            `level=fatal msg="Fatal error from runtime: process component mine error: ${occurred}`,
          ]),
    ];
    if (ignoreErrors) t.is(await sidecar.publish('a', 1), 404);
    else t.is(await sidecar.exited, 1);
    const log = sidecar.log();
    const places = lines.map((line) => log.indexOf(line));
    t.false(places.includes(-1), lines[places.indexOf(-1)] ?? '');
    t.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
  });
}

for (const namespace of [undefined, 'here']) {
  test(`each second component of a name is told before the exit, ${namespace ?? 'without a namespace'}`, async (t) => {
    const component = (name: string, type: string, of?: string): object => ({
      ...memory(name),
      metadata: { name, ...(of !== undefined && { namespace: of }) },
      spec: { type, version: 'v1' },
    });
    const documents = [
      component('twin', 'state.in-memory', 'here'),
      component('twin', 'pubsub.in-memory'),
      component('twin', 'pubsub.redis', 'there'),
      component('7', 'pubsub.in-memory'),
      component('7', 'state.in-memory'),
    ];
    const env = namespace ? { NAMESPACE: namespace } : {};
    const sidecar = await startSidecar(t, { resources: { 'a.yaml': documents }, env, ready: false });
    t.is(await sidecar.exited, 1);
    const duplicate = (name: string, type: string, other: string): string =>
      `duplicate definition of Component name ${name} (${type}/v1) with existing ${name} (${other}/v1)`;
    const all = [
      duplicate('twin', 'pubsub.in-memory', 'state.in-memory'),
      ...(namespace ? [] : [duplicate('twin', 'pubsub.redis', 'state.in-memory')]),
      duplicate('7', 'state.in-memory', 'pubsub.in-memory'),
    ];
    const line = `Fatal error from runtime: failed to load components: ${all.join('\\n')}"`;
    t.true(await until(() => sidecar.log().includes(line), 'it is logged'));
  });
}

test('a Resiliency that is added and removed is in the metadata and out again', async (t) => {
  const sidecar = await startSidecar(t);
  const names = async (): Promise<string> =>
    (((await sidecar.metadata())['resiliencies'] ?? []) as { name: string }[]).map(({ name }) => name).join();
  t.is(await names(), '');
  await sidecar.write('r.yaml', resiliency('myresiliency'));
  await until(async () => (await names()) === 'myresiliency', 'it is there');
  await sidecar.write('s.yaml', resiliency('another'));
  await until(async () => (await names()).split(',').sort().join() === 'another,myresiliency', 'both are');
  await sidecar.remove('r.yaml');
  await until(async () => (await names()) === 'another', 'one is gone');
});

test('a Configuration that is put among the resources is told of by name', async (t) => {
  const sidecar = await startSidecar(t);
  await sidecar.write('c.yaml', configuration('myconfiguration', { metric: { enabled: true } }));
  await until(() => sidecar.log().includes('myconfiguration'), 'its name is in the log');
  t.is(await sidecar.publish('a', 1), 204);
});

test('SIGHUP reads Configuration, HTTPEndpoint and Resiliency anew', async (t) => {
  const metric = (increasedCardinality: boolean): object =>
    configuration('c', { metric: { enabled: true, http: { increasedCardinality } } });
  const { sidecar, files } = await configured(t, [metric(false)]);
  const seen = (): string => sidecar.log();
  await until(() => seen().includes('increasedCardinality\\":false'), 'the metric spec is told');
  t.false(seen().includes('increasedCardinality\\":true'));
  await writeFile(files[0] as string, JSON.stringify(metric(true)));
  const endpoint = {
    apiVersion: 'dapr.io/v1alpha1',
    kind: 'HTTPEndpoint',
    metadata: { name: 'myendpoint' },
    spec: { baseUrl: 'http://localhost:1' },
  };
  await sidecar.write('h.yaml', [endpoint, resiliency('myresiliency')]);
  sidecar.signal('SIGHUP');
  await until(() => seen().includes('increasedCardinality\\":true'), 'the metric spec is told anew');
  const endpoints = (): Promise<unknown> =>
    sidecar.metadata().then(
      (metadata) => metadata['httpEndpoints'],
      () => 'away',
    );
  await until(async () => JSON.stringify(await endpoints()) === '[{"name":"myendpoint"}]', 'the endpoint is listed');
  await until(() => seen().includes('myresiliency'), 'the policy is told');
  await sidecar.remove('h.yaml');
  sidecar.signal('SIGHUP');
  await until(async () => JSON.stringify((await endpoints()) ?? []) === '[]', 'the endpoint is gone');
  t.is(await sidecar.stop(), 0);
});

const preflight = (url: string, origin: string, headers: object = {}): Promise<Response> =>
  fetch(`${url}/v1.0/metadata`, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'GET', ...headers },
  });

test('without origins an OPTIONS request is nothing special, and a token that nobody asked for is ignored', async (t) => {
  const sidecar = await startSidecar(t);
  const response = await preflight(sidecar.http, 'http://a', { 'dapr-api-token': 'stray' });
  t.is(response.status, 404);
  t.is(response.headers.get('vary'), null);
  t.is((await fetch(`${sidecar.http}/v1.0/metadata`, { headers: { 'dapr-api-token': 'stray' } })).status, 200);
});

test('with a token everything wants it, OPTIONS too', async (t) => {
  const sidecar = await startSidecar(t, { env: { DAPR_API_TOKEN: 'secret' } });
  const token = { 'dapr-api-token': 'secret' };
  t.is((await preflight(sidecar.http, 'http://a')).status, 401);
  t.is((await preflight(sidecar.http, 'http://a', token)).status, 404);
  t.is((await fetch(`${sidecar.http}/v1.0/metadata`)).status, 401);
  t.is((await fetch(`${sidecar.http}/v1.0/metadata`, { headers: token })).status, 200);
});

test('with origins a preflight of one of them is answered without a token, the request itself needs it', async (t) => {
  const env = { DAPR_API_TOKEN: 'secret' };
  const sidecar = await startSidecar(t, { env, args: ['--allowed-origins=http://a,http://b'] });
  const allowed = await preflight(sidecar.http, 'http://a');
  t.is(allowed.status, 200);
  t.is(allowed.headers.get('access-control-allow-origin'), 'http://a');
  t.is((await preflight(sidecar.http, 'http://c')).headers.get('access-control-allow-origin'), null);
  t.is((await fetch(`${sidecar.http}/v1.0/metadata`, { headers: { origin: 'http://a' } })).status, 401);
});

test('a shutdown is asked for over HTTP, over gRPC, and by force', async (t) => {
  const http = await startSidecar(t);
  t.true((await fetch(`${http.http}/v1.0/shutdown`, { method: 'POST' })).ok);
  t.is(await http.exited, 0);
  const grpc = await startSidecar(t);
  await call(grpc.client, 'shutdown', {});
  t.is(await grpc.exited, 0);
  for (const { log } of [http, grpc]) {
    t.true(log().includes('Shutdown requested via API'));
    t.true(log().includes('Daprd shutdown gracefully'));
  }
  const force = await startSidecar(t);
  const headers = { 'dapr-force-shutdown': 'true' };
  t.true((await fetch(`${force.http}/v1.0/shutdown`, { method: 'POST', headers })).ok);
  t.is(await force.exited, 1);
  t.true(
    await until(
      () => force.log().includes('Force shutdown requested, exiting immediately without graceful shutdown'),
      'it is logged',
    ),
  );
});
