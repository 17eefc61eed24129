/** Calls of the own app through the sidecar: all that Dapr's service invocation does without another sidecar. */

import { writeFile } from 'node:fs/promises';
import test from 'ava';
import { HTTPExtension_Verb } from '../../gen/dapr/proto/common/v1/common.ts';
import { ErrorInfo, Status } from '../../gen/google/rpc/status.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { until } from '../_support/until.ts';
import { bytes, failure, invoke, startEcho, text, urlOf } from './_echo.ts';
import { configuration, configured, declared, memory, startSidecar } from './_sidecar.ts';

test('a request goes to the app as it is, and its answer comes back as it is', async (t) => {
  const app = await startEcho(t, () => ({
    status: 418,
    headers: { 'content-type': 'text/tea', 'x-own': 'yes' },
    body: 'short',
  }));
  const env = { APP_API_TOKEN: 'of the app', DAPR_API_TOKEN: 'of the sidecar' };
  const sidecar = await startSidecar(t, { appPort: app.port, env });
  const headers = { 'content-type': 'a/b', 'x-mine': '1', 'dapr-api-token': 'of the sidecar' };
  const url = urlOf(sidecar, 'deep/a%2Fb/?x=1&y=%20');
  t.is((await fetch(url, { method: 'PATCH', body: 'x' })).status, 401);
  const response = await fetch(url, { method: 'PATCH', body: 'whole', headers });
  t.is(response.status, 418);
  t.is(response.headers.get('content-type'), 'text/tea');
  t.is(response.headers.get('x-own'), 'yes');
  t.is(await response.text(), 'short');
  const [asked] = app.asked;
  t.like(asked, { verb: 'PATCH', url: '/deep/a%2Fb/?x=1&y=%20', body: 'whole' });
  t.like(asked?.headers, { 'content-type': 'a/b', 'x-mine': '1', 'dapr-api-token': 'of the app' });
  t.is(app.asked.length, 1);
  t.deepEqual(
    Object.keys(asked?.headers ?? {}).filter((name) => name.startsWith('dapr-') && name !== 'dapr-api-token'),
    ['dapr-caller-app-id', 'dapr-caller-namespace', 'dapr-callee-app-id'],
  );
  const head = await fetch(url, { method: 'HEAD', headers });
  t.is(head.status, 418);
  t.is(app.asked[1]?.verb, 'HEAD');
});

test('the header dapr-app-id makes a path of the app of what is no endpoint', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port });
  const headers = { 'dapr-app-id': 'app' };
  t.is(await (await fetch(`${sidecar.http}/any/path?q`, { headers })).text(), 'GET /any/path?q');
  t.false('dapr-app-id' in (app.asked[0]?.headers ?? {}));
  t.is((await fetch(`${sidecar.http}/v1.0/publish/pubsub/a`, { method: 'POST', headers, body: 'x' })).status, 204);
  t.is(app.asked.length, 1);
  const nobody = await fetch(`${sidecar.http}/any/path`);
  t.is(nobody.status, 404);
  t.like(await nobody.json(), { errorCode: 'ERR_DIRECT_INVOKE' });
});

test('other apps are not reachable, and that is what the error says', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port });
  const message =
    'failed to invoke, id: other, err: other apps are not reachable through this sidecar, only its own: app';
  const response = await fetch(urlOf(sidecar, 'x', 'other'), { method: 'POST', body: 'x' });
  t.is(response.status, 500);
  t.deepEqual(await response.json(), { errorCode: 'ERR_DIRECT_INVOKE', message });
  const error = await failure(invoke(sidecar, 'x', { id: 'other' }));
  t.like(error, { code: 13, details: message });
  t.is(app.asked.length, 0);
  const alone = await startSidecar(t);
  t.regex(await (await fetch(urlOf(alone, 'x'))).text(), /app channel is not initialized/);
});

test('InvokeService calls an app over HTTP; its statuses are codes', async (t) => {
  const app = await startEcho(t, ({ url }) => (url === '/no' ? { status: 404, body: 'not here' } : {}));
  const sidecar = await startSidecar(t, { appPort: app.port });
  const headers = { 'x-mine': '1', 'dapr-api-token': 'stray' };
  const got = await invoke(sidecar, 'yes', { verb: 'PUT', query: 'q=1', data: bytes('whole'), headers });
  t.is(text(got), 'PUT /yes?q=1');
  t.like(app.asked[0], { body: 'whole' });
  t.like(app.asked[0]?.headers, { 'content-type': 'text/plain', 'x-mine': '1' });
  t.false('dapr-api-token' in (app.asked[0]?.headers ?? {}));
  t.false(Object.keys(app.asked[0]?.headers ?? {}).some((name) => name.includes('grpc-')));
  t.is(text(await invoke(sidecar, 'yes', { verb: 'NONE' })), 'POST /yes');
  const error = await failure(invoke(sidecar, 'no'));
  t.like(error, { code: 5, details: 'Not Found' });
  const [packed] = error.metadata.get('grpc-status-details-bin');
  const info = ErrorInfo.decode(Status.decode(packed as Buffer).details[0]?.value as Buffer);
  t.deepEqual(info.metadata, { 'http.code': '404', 'http.error_message': 'not here' });
});

test('an app over gRPC is called by OnInvoke; its codes are statuses', async (t) => {
  const calls: object[] = [];
  const app = await startGrpcApp({
    invoke: ({ method, data, contentType, httpExtension }, headers) => {
      calls.push({ method, text: data?.value.toString(), typeUrl: data?.typeUrl, contentType, httpExtension });
      if (method === 'no') return 5;
      return { data: { typeUrl: 'of/answer', value: Buffer.from(`hello ${String(headers['x-mine'])}`) }, contentType };
    },
  });
  t.teardown(() => app.close());
  const sidecar = await startSidecar(t, { appPort: app.port, protocol: 'grpc' });
  const headers = { 'x-mine': '1', 'content-type': 'text/plain' };
  const response = await fetch(urlOf(sidecar, 'a/b?q=1'), { method: 'DELETE', body: 'whole', headers });
  t.is(response.status, 200);
  t.is(response.headers.get('content-type'), 'text/plain');
  t.is(await response.text(), 'hello 1');
  const httpExtension = { verb: HTTPExtension_Verb.DELETE, querystring: 'q=1' };
  t.deepEqual(calls[0], { method: 'a/b', text: 'whole', typeUrl: '', contentType: 'text/plain', httpExtension });
  const got = await invoke(sidecar, 'x', { data: bytes('typed', 'of/question'), headers: { 'x-mine': '2' } });
  t.is(text(got), 'hello 2');
  t.is(got.data?.typeUrl, 'of/answer');
  t.like(calls[1], { text: 'typed', typeUrl: 'of/question' });
  const refused = await fetch(urlOf(sidecar, 'no'));
  t.is(refused.status, 404);
  t.deepEqual(await refused.json(), { errorCode: 'ERR_DIRECT_INVOKE', message: 'as the test wants' });
  t.like(await failure(invoke(sidecar, 'no')), { code: 5, details: 'as the test wants' });
});

test('what the lists of APIs exclude is not called, however it is asked for', async (t) => {
  const app = await startEcho(t);
  const api = { denied: [{ name: 'invoke', version: 'v1', protocol: 'http' }] };
  const { sidecar } = await configured(t, [configuration('c', { api })], { appPort: app.port });
  t.is((await fetch(urlOf(sidecar, 'x'))).status, 404);
  t.is((await fetch(`${sidecar.http}/x`, { headers: { 'dapr-app-id': 'app' } })).status, 404);
  t.is(app.asked.length, 0);
  t.is(text(await invoke(sidecar, 'x')), 'POST /x');
});

test('a body past the limit is refused, and the next call is served', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port, args: ['--max-body-size=1Ki'] });
  const large = await fetch(urlOf(sidecar, 'x'), { method: 'POST', body: 'x'.repeat(2000) });
  t.is(large.status, 400);
  t.like(await large.json(), { errorCode: 'ERR_BODY_READ' });
  t.is(await (await fetch(urlOf(sidecar, 'x'), { method: 'POST', body: 'x' })).text(), 'POST /x');
});

for (const protocol of ['http', 'grpc'] as const) {
  test(`calls and events together are never more than --app-max-concurrency, for an app over ${protocol}`, async (t) => {
    const busy: (() => void)[] = [];
    let most = 0;
    const handle = (): Promise<void> =>
      new Promise((resolve) => {
        most = Math.max(most, busy.push(resolve));
      });
    const empty = { data: undefined, contentType: '' };
    const grpc = await startGrpcApp({
      replyLater: () => handle().then(() => 0),
      invoke: () => handle().then(() => empty),
    });
    const http = await startEcho(t, () => handle().then(() => ({ body: '' })));
    t.teardown(() => grpc.close());
    const resources = { 'a.yaml': [memory('pubsub'), declared('v1alpha1', 's', { topic: 'a', route: '/a' })] };
    const appPort = protocol === 'grpc' ? grpc.port : http.port;
    const sidecar = await startSidecar(t, { appPort, protocol, resources, args: ['--app-max-concurrency=1'] });
    const four = [1, 2, 3, 4];
    const calls = [...four.map(() => invoke(sidecar, 'x')), ...four.map(() => sidecar.publish('a', 1))];
    for (let i = 1; i <= 8; i++) (await until(() => busy.shift(), `number ${i} comes`))();
    t.is((await Promise.all(calls)).length, 8);
    t.is(most, 1);
  });
}

test('the root of an app is called by a method that is empty', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port });
  t.is(await (await fetch(`${urlOf(sidecar, '')}?q=1`)).text(), 'GET /?q=1');
  t.is(await (await fetch(`${sidecar.http}/`, { headers: { 'dapr-app-id': 'app' } })).text(), 'GET /');
  t.is((await fetch(urlOf(sidecar, '').replace(/\/$/, ''))).status, 404);
});

test('trace and baggage go along, and baggage that is none is refused', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port });
  const headers = { traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`, baggage: 'key1=value1,key2=value2' };
  const response = await fetch(urlOf(sidecar, 'x'), { headers });
  t.is(response.headers.get('baggage'), headers.baggage);
  t.like(app.asked[0]?.headers, headers);
  await invoke(sidecar, 'x', { headers });
  t.like(app.asked[1]?.headers, headers);
  const bad = { baggage: 'no baggage' };
  t.is((await fetch(urlOf(sidecar, 'x'), { headers: bad })).status, 400);
  t.is((await failure(invoke(sidecar, 'x', { headers: bad }))).code, 3);
  t.is(app.asked.length, 2);
});

test('whether the log of calls has URLs is decided anew by SIGHUP', async (t) => {
  const app = await startEcho(t);
  const logging = (obfuscateURLs: boolean): object =>
    configuration('c', { logging: { apiLogging: { enabled: true, obfuscateURLs } } });
  const { sidecar, files } = await configured(t, [logging(false)], { appPort: app.port });
  await fetch(urlOf(sidecar, 'secret'));
  await until(() => sidecar.log().includes('method="GET /v1.0/invoke/app/method/secret"'), 'it is shown');
  await writeFile(files[0] as string, JSON.stringify(logging(true)));
  sidecar.signal('SIGHUP');
  const obfuscated = /method=InvokeService\/app\b/;
  await until(
    () =>
      fetch(urlOf(sidecar, 'secret')).then(
        () => obfuscated.test(sidecar.log()),
        () => false,
      ),
    'it is not shown any more',
  );
  t.is(sidecar.log().split(obfuscated)[1]?.includes('secret'), false);
});
