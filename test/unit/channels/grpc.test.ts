import { constants, createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { GrpcChannel } from '../../../src/channels/grpc.ts';
import { INIT_RETRY } from '../../../src/core/retry-policy.ts';
import { until } from '../../_support/until.ts';
import { memoryLog } from '../config/_support.ts';
import { eventOf, NEVER } from './_event.ts';

const HEADERS = { ':status': 200, 'content-type': 'application/grpc' };

/** A channel to an app that answers every call like this, at the level of HTTP/2. */
async function channelTo(
  t: ExecutionContext,
  onStream: (stream: ServerHttp2Stream) => void,
  idleMs = 60_000,
  onSession: (session: ServerHttp2Session) => void = () => undefined,
): Promise<GrpcChannel> {
  const server = createServer();
  server.on('session', onSession);
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined);
    onStream(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const channel = new GrpcChannel({
    address: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    tls: false,
    token: { header: 'dapr-api-token', value: '' },
    unknownData: 'bytes',
    maxConcurrency: 0,
    idleMs,
    maxBodyBytes: 1 << 20,
    traffic: undefined,
    initRetry: INIT_RETRY,
    log: memoryLog(),
  });
  t.teardown(async () => {
    await channel.close();
    server.close();
  });
  return channel;
}

const bodyAndOk =
  (...bytes: number[]) =>
  (stream: ServerHttp2Stream): void => {
    stream.respond(HEADERS, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.from(bytes));
  };

for (const [name, answer] of [
  ['no message', (stream) => stream.respond({ ...HEADERS, 'grpc-status': '0' }, { endStream: true })],
  ['no message after its headers', bodyAndOk()],
  ['less of a message than announced', bodyAndOk(0, 0, 0, 0, 2)],
  ['a second message', bodyAndOk(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)],
  ['a compressed message', bodyAndOk(1, 0, 0, 0, 0)],
] as [string, (stream: ServerHttp2Stream) => void][]) {
  test(`OK with ${name} is no success`, async (t) => {
    const channel = await channelTo(t, answer);
    t.like(await channel.deliver(eventOf(), NEVER), { kind: 'retry', code: 13 });
  });
}

test('OK with an empty message is success', async (t) => {
  const channel = await channelTo(t, bodyAndOk(0, 0, 0, 0, 0));
  t.deepEqual(await channel.deliver(eventOf(), NEVER), { kind: 'success' });
});

test('a status that is no number is an unknown one', async (t) => {
  const channel = await channelTo(t, (stream) =>
    stream.respond({ ...HEADERS, 'grpc-status': 'abc' }, { endStream: true }),
  );
  t.like(await channel.deliver(eventOf(), NEVER), { kind: 'retry', code: 2 });
});

test('metadata and attributes that gRPC has no place for do not keep an event from the app', async (t) => {
  const channel = await channelTo(t, bodyAndOk(0, 0, 0, 0, 0));
  const deep = `${'['.repeat(9000)}${']'.repeat(9000)}`;
  for (const event of [
    eventOf({ metadata: { 'http2-settings': 'x', connection: 'x', ':path': '/' } }),
    eventOf({ traceparent: 'a\r\nb', tracestate: '€', pubsubName: '€' }),
    eventOf({ metadata: { 'user-agent': 'a', 'User-Agent': 'b', Range: 'a', range: 'b' } }),
    eventOf({ body: `{"id":"1","deep":${deep}}` }),
  ]) {
    t.deepEqual(await channel.deliver(event, NEVER), { kind: 'success' });
  }
});

test('a connection on which nothing happens is closed, and opened again for the next call', async (t) => {
  const sessions: ServerHttp2Session[] = [];
  const channel = await channelTo(t, bodyAndOk(0, 0, 0, 0, 0), 100, (session) => sessions.push(session));
  t.deepEqual(await channel.deliver(eventOf(), NEVER), { kind: 'success' });
  await until(() => sessions[0]?.destroyed, 'the connection is closed');
  t.deepEqual(await channel.deliver(eventOf(), NEVER), { kind: 'success' });
  t.is(sessions.length, 2);
});

test('an app that takes its time is not pinged: servers of gRPC end a connection for that', async (t) => {
  let pings = 0;
  const slow = (stream: ServerHttp2Stream): void => void setTimeout(() => bodyAndOk(0, 0, 0, 0, 0)(stream), 500);
  const channel = await channelTo(t, slow, 100, (session) => session.on('ping', () => pings++));
  t.deepEqual(await channel.deliver(eventOf(), NEVER), { kind: 'success' });
  t.is(pings, 0);
});

test('what an app refuses unread is sent once more, on another connection: that was no attempt', async (t) => {
  const sessions = new Set<unknown>();
  let refusals = 1;
  const channel = await channelTo(t, (stream) => {
    sessions.add(stream.session);
    if (refusals-- > 0) stream.close(constants.NGHTTP2_REFUSED_STREAM);
    else bodyAndOk(0, 0, 0, 0, 0)(stream);
  });
  t.deepEqual(await channel.deliver(eventOf(), NEVER), { kind: 'success' });
  t.is(sessions.size, 2);
  refusals = 2;
  t.like(await channel.deliver(eventOf(), NEVER), { kind: 'retry', code: 14 });
});
