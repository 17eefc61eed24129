/** Calls of services that are none of the sidecar's: they are the app's, and passed on as they are. */

import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import { MEMORY, publish, startDaprd, temporaryDirectory } from '../_support/daprd.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { both, clientOf, download, heard, metadataOf, stage, startOwn, TO_APP, unary, upload } from './_own-service.ts';

const MIB = 1 << 20;

test('a unary call goes to the app with its metadata; headers, answer and trailers come back', async (t) => {
  const seen: Record<string, unknown>[] = [];
  const { daprd, client } = await stage(t, {
    unary: (call, done) => {
      seen.push({ ...call.metadata.getMap(), many: call.metadata.get('x-many').join(', ') });
      call.sendMetadata(metadataOf({ 'x-early': 'e', 'early-bin': Buffer.from([0, 255]) }));
      done(null, Buffer.concat([call.request, Buffer.from('!')]), metadataOf({ 'x-late': 'l' }));
    },
  });
  const headers = metadataOf({ ...TO_APP, 'x-mine': 'm', 'mine-bin': Buffer.from([1, 254]) });
  headers.add('x-many', 'one');
  headers.add('x-many', 'two');
  const answer = await unary(client, 'hello', { headers });
  t.is(answer.body?.toString(), 'hello!');
  t.deepEqual(answer.headers.get('x-early'), ['e']);
  t.deepEqual(answer.headers.get('early-bin'), [Buffer.from([0, 255])]);
  t.deepEqual(answer.status.metadata.get('x-late'), ['l']);
  t.like(seen[0], { 'x-mine': 'm', 'mine-bin': Buffer.from([1, 254]), many: 'one, two' });
  const gzip = clientOf(t, daprd, { 'grpc.default_compression_algorithm': 2 });
  t.is((await unary(gzip, 'zip'.repeat(1000))).body?.toString(), `${'zip'.repeat(1000)}!`);
  const empty = await unary(client, '', { headers: { 'dapr-callee-app-id': 'app' } });
  t.is(empty.body?.toString(), '!');
  const named = metadataOf(TO_APP);
  named.add('dapr-app-id', 'app'); // as a client does whose interceptor and whose call both name it
  t.is((await unary(client, 'twice', { headers: named })).body?.toString(), 'twice!');
});

test('streams go both ways, each side ends its own', async (t) => {
  const { client } = await stage(t, {
    down: (call) => {
      for (const part of call.request.toString().split(',')) call.write(Buffer.from(part));
      call.end(metadataOf({ 'x-late': 'l' }));
    },
    up: (call, done) => {
      const parts: string[] = [];
      call.on('data', (part: Buffer) => parts.push(part.toString()));
      call.on('end', () => done(null, Buffer.from(parts.join('+'))));
    },
    both: (call) => {
      call.on('data', (part: Buffer) => call.write(part));
      call.on('end', () => {
        call.write(Buffer.from('the end'));
        call.end();
      });
    },
  });
  const downloaded = heard(download(client, 'a,b,c'));
  await until(() => downloaded.ends.length === 1, 'it ends');
  t.deepEqual(downloaded.got, ['a', 'b', 'c']);
  t.deepEqual(downloaded.ends[0]?.metadata.get('x-late'), ['l']);
  const uploaded = await new Promise<Buffer | undefined>((resolve) => {
    const call = upload(client, (_error, answer) => resolve(answer));
    for (const part of ['1', '2', '3']) call.write(Buffer.from(part));
    call.end();
  });
  t.is(uploaded?.toString(), '1+2+3');
  const { stream, got, ends } = both(client);
  for (const part of ['x', 'y']) {
    stream.write(Buffer.from(part));
    await until(() => got.at(-1) === part, `${part} comes back`);
  }
  stream.end();
  await until(() => ends.length === 1, 'both have ended');
  t.deepEqual([got, ends[0]?.code], [['x', 'y', 'the end'], 0]);
});

test('an error of the app comes back with its code, its words and its trailers', async (t) => {
  const failure = { code: 9, details: `ä%\n${'x'.repeat(600)}`, metadata: metadataOf({ 'why-bin': Buffer.from([7]) }) };
  const { client } = await stage(t, {
    unary: (_call, done) => done(failure),
    down: (call) => {
      call.write(Buffer.from('first'));
      call.emit('error', failure);
    },
    up: (_call, done) => done(failure),
  });
  const uploading = new Promise<object | null>((resolve) => upload(client, resolve).write(Buffer.alloc(MIB)));
  const { got, ends } = heard(download(client));
  await until(() => ends.length === 1, 'it fails');
  t.deepEqual(got, ['first']);
  for (const status of [(await unary(client, '')).status, ends[0], await uploading]) {
    t.like(status, { code: 9, details: failure.details });
    t.deepEqual((status as typeof failure).metadata.get('why-bin'), [Buffer.from([7])]);
  }
  const missing = await unary(client, '', { path: '/own.Service/nothing' });
  t.is(missing.status.code, 12);
  t.regex(missing.status.details, /does not implement/);
});

test('a call that its caller gives up, or whose time is over, ends at the app, and no request is taken for whole', async (t) => {
  const events: string[] = [];
  const timeouts: number[] = [];
  const { client } = await stage(t, {
    unary: (call) => {
      timeouts.push(Number(call.getDeadline()) - Date.now());
      call.on('cancelled', () => events.push('unary cancelled'));
    },
    both: (call) => {
      call.write(Buffer.from('begun'));
      call.on('data', () => undefined).on('end', () => events.push(call.cancelled ? 'after it' : 'end'));
      call.on('cancelled', () => events.push('both cancelled'));
    },
  });
  const late = await unary(client, '', { call: { deadline: Date.now() + 400 } });
  t.is(late.status.code, 4);
  t.true((timeouts[0] as number) < 1000); // what is left of it, as far as two clocks agree
  await until(() => events.includes('unary cancelled'), 'the app hears of it');
  const timed = both(client, { deadline: Date.now() + 400 });
  await until(() => timed.ends[0]?.code === 4, 'its time is over');
  await until(() => events.includes('both cancelled'), 'the app hears of that, too');
  events.length = 0;
  const given = both(client);
  await until(() => given.got.length === 1, 'it has begun');
  given.stream.cancel();
  await until(() => events.includes('both cancelled'), 'and of this');
  t.is(given.ends[0]?.code, 1);
});

test('messages of any length go on, either way', async (t) => {
  const { client } = await stage(
    t,
    { unary: (call, done) => done(null, call.request) },
    { args: ['--max-body-size=1Mi'] },
  );
  const body = Buffer.alloc(24 * MIB, 'abc');
  t.true((await unary(client, body)).body?.equals(body));
});

test('what cannot be passed on is said in words', async (t) => {
  const { client } = await stage(t, {});
  const required = 'failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found';
  t.like((await unary(client, '', { headers: {} })).status, { code: 2, details: required });
  const others =
    'failed to invoke, id: other, err: other apps are not reachable through this sidecar, only its own: app';
  t.like((await unary(client, '', { headers: { 'dapr-app-id': 'other' } })).status, { code: 13, details: others });
  const none = clientOf(t, await startDaprd(t));
  t.like((await unary(none, '', { headers: {} })).status, { code: 2, details: required });
  t.regex((await unary(none, '')).status.details, /app channel is not initialized/);
  const http = await startHttpApp({});
  t.teardown(() => http.close());
  const overHttp = clientOf(t, await startDaprd(t, { appPort: http.port }));
  const status = { code: 13, details: 'failed to invoke, id: app, err: an app over http has no services of gRPC' };
  t.like((await unary(overHttp, '')).status, status);
  t.is((await unary(client, '', { path: '/dapr.proto.runtime.v1.Dapr/GetState' })).status.code, 12);
});

test('an app that is not well, goes away or speaks no gRPC', async (t) => {
  const sick = await startGrpcApp({ healthy: () => false });
  t.teardown(() => sick.close());
  const args = ['--app-protocol', 'grpc', '--enable-app-health-check', '--app-health-probe-interval', '1'];
  const unwell = clientOf(t, await startDaprd(t, { appPort: sick.port, args, ready: false }));
  await until(async () => /not in a healthy state/.test((await unary(unwell, '')).status.details), 'it is refused');
  let calls = 0;
  const server = createServer();
  server.on('session', (session) => session.on('error', () => undefined));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    if (!String(headers[':path']).startsWith('/own.')) return stream.respond({ ':status': 404 }, { endStream: true });
    calls++;
    if (calls === 1) return stream.session?.destroy();
    if (calls === 2) stream.respond({ ':status': 503 });
    else stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    return void stream.end('no gRPC');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port: appPort } = server.address() as AddressInfo;
  const client = clientOf(t, await startDaprd(t, { appPort, args: args.slice(0, 2) }), { 'grpc.enable_retries': 0 });
  t.is((await unary(client, '')).status.code, 14);
  t.like((await unary(client, '')).status, { code: 14, details: 'HTTP status 503' });
  t.true((await unary(client, '')).status.code > 0);
});

test('tokens: the one of the sidecar stays here, the one of the app is sent, and the app is told who calls', async (t) => {
  const seen: Record<string, unknown>[] = [];
  const { client } = await stage(
    t,
    {
      unary: (call, done) => {
        seen.push(call.metadata.getMap());
        done(null, Buffer.alloc(0));
      },
    },
    { env: { DAPR_API_TOKEN: 'of the sidecar', APP_API_TOKEN: 'of the app' } },
  );
  const refused = await unary(client, '', { headers: { ...TO_APP, 'dapr-api-token': 'of the app' } });
  t.like(refused.status, { code: 16, details: 'Unauthorized' });
  const headers = { ...TO_APP, 'dapr-api-token': 'of the sidecar', 'dapr-caller-app-id': 'somebody' };
  t.is((await unary(client, '', { headers })).status.code, 0);
  t.is(seen.length, 1);
  const said = { 'dapr-caller-app-id': 'app', 'dapr-callee-app-id': 'app', 'dapr-caller-namespace': 'default' };
  t.like(seen[0], { 'dapr-api-token': 'of the app', ...said });
});

test('where the list of APIs excludes invoke nothing is passed on', async (t) => {
  const file = join(await temporaryDirectory(t), 'config.yaml');
  const spec = { api: { denied: [{ name: 'invoke', version: 'v1', protocol: 'grpc' }] } };
  const document = { apiVersion: 'dapr.io/v1alpha1', kind: 'Configuration', metadata: { name: 'c' }, spec };
  await writeFile(file, JSON.stringify(document));
  const { client } = await stage(
    t,
    { unary: (_call, done) => done(null, Buffer.alloc(0)) },
    { args: ['--config', file] },
  );
  t.like((await unary(client, '')).status, { code: 12, details: 'Not Implemented' });
});

test('calls that are passed on have a connection of their own: events do not wait behind them', async (t) => {
  const events: string[] = [];
  const appPort = await startOwn(
    t,
    { both: (call) => void call.write(Buffer.from('begun')), onEvent: (id) => void events.push(id) },
    { 'grpc.max_concurrent_streams': 2 },
  );
  const subscription =
    'apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: {pubsubname: pubsub, topic: a, route: /a}\n';
  const resources = { 'pubsub.yaml': MEMORY, 's.yaml': subscription };
  const daprd = await startDaprd(t, { appPort, args: ['--app-protocol', 'grpc'], resources });
  const client = clientOf(t, daprd);
  const held = [both(client), both(client)];
  await until(() => held.every(({ got }) => got.length === 1), 'as many are in hand as the app allows');
  t.is((await publish(daprd, 'a', '1')).status, 204);
  await until(() => events.length === 1, 'the event comes');
});
