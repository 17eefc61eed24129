import { writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { publish, startDaprd, temporaryDirectory, type Daprd } from '../_support/daprd.ts';

async function withApi(t: ExecutionContext, api: string): Promise<Daprd> {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'config.yaml');
  await writeFile(
    file,
    `apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata:\n  name: c\nspec:\n  api:\n${api}`,
  );
  return startDaprd(t, { directory, args: ['--config', file] });
}

function getMetadata(t: ExecutionContext, daprd: Daprd): Promise<ServiceError | null> {
  const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  return new Promise((resolve) => client.getMetadata({}, new Metadata(), (error) => resolve(error)));
}

test('what is denied is not there, over the protocol that the rule names', async (t) => {
  const daprd = await withApi(
    t,
    '    denied:\n    - {name: metadata, version: v1, protocol: grpc}\n    - {name: publish, version: v1.0, protocol: http}\n',
  );
  t.is((await fetch(`${daprd.http}/v1.0/metadata`)).status, 200);
  t.is((await publish(daprd, 't', '1')).status, 404);
  const error = await getMetadata(t, daprd);
  t.deepEqual([error?.code, error?.details], [12, 'Not Implemented']);
});

test('what is denied is not there, however its path is spelt', async (t) => {
  const daprd = await withApi(
    t,
    '    denied:\n    - {name: publish/bulk, version: v1.0, protocol: http}\n    - {name: publish, version: v1alpha1, protocol: http}\n',
  );
  t.is((await publish(daprd, 't', '1')).status, 204);
  const entries = '[{"entryId":"1","event":"x","contentType":"text/plain"}]';
  for (const path of [
    '/v1.0/publish/bulk/pubsub/t',
    '/v1.0//publish/bulk/pubsub/t',
    '/v1.0/./publish/bulk/pubsub/t',
    '/x/../v1.0/publish/x/../bulk/pubsub/t',
    '/v1.0-alpha1/publish/bulk/pubsub/t',
    '/./v1.0-alpha1/publish/bulk/pubsub/t',
    '/v1.0/../v1.0-alpha1/publish/bulk/pubsub/t',
  ]) {
    t.is(await post(daprd, path, entries), 404, path);
  }
});

/** The status of a request for a path as it is written: `fetch` would clean it. */
function post({ httpPort }: Daprd, path: string, body: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: httpPort, path, method: 'POST' };
    request(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .once('error', reject)
      .end(body);
  });
}

test('where anything is allowed nothing else is, but health', async (t) => {
  const daprd = await withApi(t, '    allowed:\n    - {name: publish, version: v1, protocol: http}\n');
  t.is((await publish(daprd, 't', '1')).status, 204);
  t.is((await fetch(`${daprd.http}/v1.0/metadata`)).status, 404);
  t.is((await fetch(`${daprd.http}/v1.0/healthz`)).status, 204);
  t.is(await getMetadata(t, daprd), null);
});

test('without allowed origins there is no word about them', async (t) => {
  const daprd = await startDaprd(t);
  const headers = { origin: 'http://a.example', 'access-control-request-method': 'POST' };
  const response = await fetch(`${daprd.http}/v1.0/publish/pubsub/t`, { method: 'OPTIONS', headers });
  t.is(response.status, 404);
  for (const name of ['vary', 'access-control-allow-origin']) t.is(response.headers.get(name), null);
});

test('an allowed origin may call, another may not, and a preflight needs no token', async (t) => {
  const daprd = await startDaprd(t, {
    args: ['--allowed-origins', 'http://a.example,http://b.example,https://*.d.example'],
    env: { DAPR_API_TOKEN: 'secret' },
  });
  const ask = (origin: string, method = 'OPTIONS', more = {}): Promise<Response> =>
    fetch(`${daprd.http}/v1.0/publish/pubsub/t`, {
      method,
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x', ...more },
    });
  const allowed = await ask('http://b.example');
  t.is(allowed.status, 200);
  t.is(allowed.headers.get('access-control-allow-origin'), 'http://b.example');
  t.is(allowed.headers.get('access-control-allow-methods'), 'POST');
  t.is(allowed.headers.get('access-control-allow-headers'), 'x');
  t.is((await ask('http://c.example')).headers.get('access-control-allow-origin'), null);
  for (const [origin, isAllowed] of [
    ['https://x.d.example', true],
    ['HTTPS://X.D.example', true],
    ['https://d.example', false],
    ['https://x.d.example.evil', false],
  ] as const) {
    t.is((await ask(origin)).headers.get('access-control-allow-origin'), isAllowed ? origin : null, origin);
  }
  t.is((await ask('http://a.example', 'POST')).status, 401);
  t.is((await ask('http://a.example', 'POST', { 'dapr-api-token': 'secret' })).status, 204);
});
