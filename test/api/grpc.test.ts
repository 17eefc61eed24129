import { join } from 'node:path';
import { Client, credentials, loadPackageDefinition, Metadata, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import test, { type ExecutionContext } from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { ErrorInfo, ResourceInfo, Status } from '../../gen/google/rpc/status.ts';
import { HealthClient } from '../../gen/grpc/health/v1/health.ts';
import { startDaprd, type Daprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const PROTOS = join(import.meta.dirname, '../../proto');

function clientOf(t: ExecutionContext, daprd: Daprd): DaprClient {
  const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  return client;
}

type Callback<Response> = (error: ServiceError | null, response: Response) => void;

/** One unary call as a promise. */
function call<Request, Response>(
  client: Client,
  method: (request: Request, metadata: Metadata, options: object, callback: Callback<Response>) => unknown,
  request: Request,
  metadata = new Metadata(),
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(client, request, metadata, {}, (error, response) => (error ? reject(error) : resolve(response)));
  });
}

const event = (topic: string, data = '{"n":1}', more = {}) => ({
  pubsubName: 'pubsub',
  topic,
  data: Buffer.from(data),
  dataContentType: 'application/json',
  metadata: {},
  ...more,
});

test('an event published over gRPC reaches the app', async (t) => {
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'g', route: '/g' }] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const client = clientOf(t, daprd);
  t.deepEqual(await call(client, client.publishEvent, event('g')), {});
  await until(() => app.received.length === 1, 'the event arrives');
  t.like(app.received[0]?.event, { data: { n: 1 }, topic: 'g' });
});

test('an error carries code, message and details that agree with each other', async (t) => {
  const client = clientOf(t, await startDaprd(t));
  const failure = async (request: object): Promise<{ status: Status; error: ServiceError }> => {
    const error = (await t.throwsAsync(call(client, client.publishEvent, event('t', '1', request)))) as ServiceError;
    const [bytes] = error.metadata.get('grpc-status-details-bin');
    const status = Status.decode(bytes as Buffer);
    t.is(status.code, error.code);
    t.is(status.message, error.details);
    return { status, error };
  };
  const notFound = await failure({ pubsubName: 'nope', metadata: { a: 'b' } });
  t.is(notFound.error.code, 3);
  t.is(notFound.error.details, 'pubsub nope is not found');
  t.deepEqual(
    notFound.status.details.map(({ value }) => ErrorInfo.decode(value)),
    [{ reason: 'DAPR_PUBSUB_NOT_FOUND', domain: 'dapr.io', metadata: {} }],
  );
  const empty = await failure({ topic: '' });
  t.is(empty.error.details, 'topic is empty in pubsub pubsub');
  const [resource, info] = empty.status.details;
  t.deepEqual(ResourceInfo.decode(resource?.value as Buffer), {
    resourceType: 'pubsub',
    resourceName: 'pubsub',
    owner: '',
    description: 'topic is empty in pubsub pubsub',
  });
  t.is(ErrorInfo.decode(info?.value as Buffer).reason, 'DAPR_PUBSUB_TOPIC_NAME_EMPTY');
  t.is((await failure({ pubsubName: '' })).error.details, 'pubsub name is empty');
  t.is((await failure({ metadata: { rawPayload: 'x' } })).error.code, 3);
  t.is((await failure({ dataContentType: 'application/cloudevents+json', data: Buffer.from('{x') })).error.code, 3);
});

test('an error about something very long has short trailers, and the connection goes on', async (t) => {
  const client = clientOf(t, await startDaprd(t));
  const long = 'é'.repeat(100_000);
  for (const request of [
    { pubsubName: long },
    { pubsubName: '', metadata: { [long]: long } },
    { metadata: { rawPayload: long } },
  ]) {
    const error = (await t.throwsAsync(call(client, client.publishEvent, event('t', '1', request)))) as ServiceError;
    t.is(error.code, 3, error.details);
    const [bytes] = error.metadata.get('grpc-status-details-bin');
    t.is(Status.decode(bytes as Buffer).message, error.details);
    t.true(error.details.length < 600);
  }
  t.deepEqual(await call(client, client.publishEvent, event('t')), {});
});

test('what is not served is UNIMPLEMENTED', async (t) => {
  const daprd = await startDaprd(t);
  const client = new Client(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const raw = (path: string): Promise<unknown> =>
    new Promise((resolve) => {
      const asIs = (bytes: Buffer): Buffer => bytes;
      client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(0), (error) => resolve(error?.code));
    });
  t.is(await raw('/dapr.proto.runtime.v1.Dapr/GetState'), 12);
  t.is(await raw('/grpc.health.v1.Health/Method'), 12);
});

test('a message past the limit is RESOURCE_EXHAUSTED', async (t) => {
  const client = clientOf(t, await startDaprd(t, { args: ['--max-body-size=64Ki'] }));
  const error = await t.throwsAsync(call(client, client.publishEvent, event('t', `"${'x'.repeat(70_000)}"`)));
  t.is((error as ServiceError).code, 8);
});

test('metadata is read and set, and shutdown stops the sidecar', async (t) => {
  const daprd = await startDaprd(t);
  const client = clientOf(t, daprd);
  await call(client, client.setMetadata, { key: 'k', value: 'v' });
  await call(client, client.setMetadata, { key: '', value: 'ignored' });
  const metadata = await call(client, client.getMetadata, {});
  t.like(metadata, { id: 'app', extendedMetadata: { k: 'v' } });
  t.is(metadata.registeredComponents[0]?.type, 'pubsub.in-memory');
  await call(client, client.shutdown, {});
  t.is(await daprd.stop('SIGCONT'), 0);
});

test('a token is asked of every call', async (t) => {
  const client = clientOf(t, await startDaprd(t, { env: { DAPR_API_TOKEN: 'secret' } }));
  const error = (await t.throwsAsync(call(client, client.getMetadata, {}))) as ServiceError;
  t.is(error.code, 16);
  t.is(error.details, 'Unauthorized');
  const metadata = new Metadata();
  metadata.set('dapr-api-token', 'secret');
  t.is((await call(client, client.getMetadata, {}, metadata)).id, 'app');
});

test('the health service tells when the sidecar is ready', async (t) => {
  const daprd = await startDaprd(t, { appPort: 1, ready: false });
  const client = new HealthClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  t.is((await call(client, client.check, { service: '' })).status, 2);
});

test('what is still running when a stop has waited long enough is UNAVAILABLE, which clients try again', async (t) => {
  const app = await startHttpApp({ subscribe: [], reply: () => new Promise(() => undefined) });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, args: ['--dapr-graceful-shutdown-seconds=1'] });
  const health = new HealthClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => health.close());
  const watched = new Promise<number>((resolve) => {
    const watch = health.watch({ service: '' });
    watch.on('error', ({ code }: ServiceError) => resolve(code)).on('data', () => undefined);
  });
  const client = clientOf(t, daprd);
  const message = { method: 'x', data: undefined, contentType: '', httpExtension: undefined };
  const invoked = t.throwsAsync(call(client, client.invokeService, { id: 'app', message }));
  await until(() => app.received.length === 1, 'the app is called');
  await daprd.stop();
  t.is(await watched, 14);
  t.is(((await invoked) as ServiceError).code, 14);
});

test('a client made from proto/ alone understands the answers', async (t) => {
  const daprd = await startDaprd(t);
  const loaded = loadPackageDefinition(
    loadSync('dapr/proto/runtime/v1/dapr.proto', { includeDirs: [PROTOS], keepCase: true, enums: String }),
  ) as unknown as {
    dapr: { proto: { runtime: { v1: { Dapr: new (...args: unknown[]) => Client & Record<string, never> } } } };
  };
  const client = new loaded.dapr.proto.runtime.v1.Dapr(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const answer = await call<object, Record<string, unknown>>(client, client['GetMetadata'] as never, {});
  t.like(answer, { id: 'app', actor_runtime: { runtime_status: 'DISABLED' } });
});

test('reflection lists the services, in both versions', async (t) => {
  const daprd = await startDaprd(t);
  const client = new Client(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  for (const version of ['v1', 'v1alpha']) {
    const asIs = (bytes: Buffer): Buffer => bytes;
    const stream = client.makeBidiStreamRequest(
      `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
      asIs,
      asIs,
    );
    const answer = new Promise<Buffer>((resolve, reject) => stream.once('data', resolve).once('error', reject));
    stream.write(Buffer.from([0x3a, 0x00])); // list_services: ""
    t.true((await answer).toString('latin1').includes('dapr.proto.runtime.v1.Dapr'));
    stream.end();
  }
});

test('a question to reflection that cannot be read ends its call with an error', async (t) => {
  const daprd = await startDaprd(t);
  const client = new Client(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const asIs = (bytes: Buffer): Buffer => bytes;
  const stream = client.makeBidiStreamRequest(
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    asIs,
    asIs,
    new Metadata(),
    {},
  );
  const failed = new Promise<ServiceError>((resolve) => stream.once('error', resolve));
  stream.write(Buffer.from('ffffffff', 'hex'));
  t.is((await failed).code, 3);
});
