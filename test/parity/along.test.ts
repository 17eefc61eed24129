/** What goes along with events and calls. */

import test from 'ava';
import { startParityApp } from './_app.ts';
import { invoke, startEcho, urlOf } from './_echo.ts';
import { startSidecar } from './_sidecar.ts';

const PARENT = `00-${'3'.repeat(32)}-${'4'.repeat(16)}-01`;
const CARRIED = { traceparent: PARENT, tracestate: 'maker=1', baggage: 'tenant=a%20b,order=7;p=1' };

for (const protocol of ['http', 'grpc'] as const) {
  test(`baggage and tracestate of a publisher arrive with the event at an app over ${protocol}`, async (t) => {
    const app = await startParityApp(t, protocol, [{ topic: 'a', route: '/a' }]);
    const sidecar = await startSidecar(t, { appPort: app.port, protocol });
    const url = `${sidecar.http}/v1.0/publish/pubsub/a`;
    t.is((await fetch(url, { method: 'POST', body: 'over http', headers: CARRIED })).status, 204);
    t.is(await sidecar.publishGrpc('a', 'over grpc', { headers: CARRIED }), 0);
    t.is(await sidecar.publishGrpc('a', 'without'), 0);
    const received = await app.got(3);
    for (const data of ['over http', 'over grpc']) t.like(received.find((one) => one.data === data)?.headers, CARRIED);
    t.false('baggage' in (received.find(({ data }) => data === 'without')?.headers ?? {}));
  });
}

test('each event of a bulk publish carries the baggage of the request', async (t) => {
  const app = await startParityApp(t, 'http', [{ topic: 'a', route: '/a' }]);
  const sidecar = await startSidecar(t, { appPort: app.port });
  const entries = ['1', '2'].map((entryId) => ({ entryId, event: entryId, contentType: 'text/plain' }));
  const headers = { 'content-type': 'application/json', baggage: CARRIED.baggage };
  const url = `${sidecar.http}/v1.0/publish/bulk/pubsub/a`;
  t.is((await fetch(url, { method: 'POST', body: JSON.stringify(entries), headers })).status, 204);
  for (const { headers: given } of await app.got(2)) t.is(given['baggage'], CARRIED.baggage);
});

test('what an event calls its baggage and is none is no header', async (t) => {
  const app = await startParityApp(t, 'http', [{ topic: 'a', route: '/a' }]);
  const sidecar = await startSidecar(t, { appPort: app.port });
  for (const baggage of ['no baggage', 7, { a: 1 }, 'own=1']) {
    const event = { specversion: '1.0', id: '1', source: 's', type: 't', data: 'd', baggage };
    t.is(await sidecar.publish('a', event, { type: 'application/cloudevents+json' }), 204);
  }
  const received = await app.got(4);
  t.deepEqual(received.map(({ headers }) => headers['baggage']).filter(Boolean), ['own=1']);
});

for (const protocol of ['http', 'grpc'] as const) {
  test(`the token of an app over ${protocol} has the name that DAPR_APP_API_TOKEN_HEADER says`, async (t) => {
    const app = await startParityApp(t, protocol, [{ topic: 'a', route: '/a' }]);
    const env = { APP_API_TOKEN: 'abc', DAPR_APP_API_TOKEN_HEADER: ' X-App-Key ' };
    const sidecar = await startSidecar(t, { appPort: app.port, protocol, env });
    t.is(await sidecar.publishGrpc('a', 'x', { metadata: { 'x-app-key': 'stray' } }), 0);
    const [received] = await app.got(1);
    t.is(received?.headers['x-app-key'], 'abc');
    t.false('dapr-api-token' in (received?.headers ?? {}));
  });
}

test('calls of the app have its token under that name, and a caller cannot set it', async (t) => {
  const app = await startEcho(t);
  const stray = { 'x-app-key': 'stray', 'dapr-api-token': 'stray' };
  for (const [token, wanted] of [
    [{ APP_API_TOKEN: 'abc' }, 'abc'],
    [{}, undefined],
  ] as const) {
    const env = { ...token, DAPR_APP_API_TOKEN_HEADER: 'X-App-Key' };
    const sidecar = await startSidecar(t, { appPort: app.port, env });
    app.asked.length = 0;
    await invoke(sidecar, 'over-grpc', { headers: stray });
    t.is((await fetch(urlOf(sidecar, 'over-http'), { headers: stray })).status, 200);
    for (const { headers } of app.asked) {
      t.is(headers['x-app-key'], wanted);
      t.false('dapr-api-token' in headers);
    }
    t.is(app.asked.length, 2);
  }
});

test('a call says who calls whom, whatever its caller says', async (t) => {
  const app = await startEcho(t);
  const spoofed = { 'dapr-caller-app-id': 'x', 'dapr-caller-namespace': 'y', 'dapr-callee-app-id': 'z' };
  for (const [env, namespace] of [
    [{ NAMESPACE: 'space' }, 'space'],
    [{}, 'default'],
  ] as const) {
    const sidecar = await startSidecar(t, { appId: 'me', appPort: app.port, env: { HOME: '/nowhere', ...env } });
    app.asked.length = 0;
    t.is((await fetch(urlOf(sidecar, 'x', 'me'), { headers: spoofed })).status, 200);
    await invoke(sidecar, 'x', { id: 'me', headers: spoofed });
    for (const { headers } of app.asked) {
      t.is(headers['dapr-caller-app-id'], 'me');
      t.is(headers['dapr-callee-app-id'], 'me');
      t.is(headers['dapr-caller-namespace'], namespace);
    }
    t.is(app.asked.length, 2);
  }
});
