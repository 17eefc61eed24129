/** What a client may cost that does not behave: a server of small means, and clients that write single frames. */

import {
  connect,
  constants,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ServerHttp2Stream,
  type SessionOptions,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { PublishEventRequest } from '../../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { ApiAccess } from '../../../src/core/api-access.ts';
import { GrpcClient } from '../../../src/channels/grpc-client.ts';
import { framed } from '../../../src/channels/framing.ts';
import { ConnectionLimit } from '../../../src/lib/connection-limit.ts';
import { MemoryBudget } from '../../../src/lib/memory-budget.ts';
import type { AnsweredCall } from '../../../src/rpc/bind.ts';
import type { ServerCall } from '../../../src/rpc/call.ts';
import type { DaprApi } from '../../../src/rpc/dapr.ts';
import { startGrpcServer } from '../../../src/rpc/server.ts';
import type { Streams } from '../../../src/rpc/subscribe.ts';
import { until } from '../../_support/until.ts';

const BUDGET_BYTES = 1 << 20;
const MESSAGE_BYTES = 200_000;

interface Stage {
  readonly port: number;
  readonly budget: MemoryBudget;
  readonly calls: AnsweredCall[];
  readonly streams: ServerCall[];
  /** Publishes that wait for it. */
  readonly held: (() => void)[];
  /** To whom calls of other services go. */
  readonly app: GrpcClient | undefined;
}

/** Publishes to the topic `held` wait to be let go, an answer about the sidecar is long. */
async function serve(t: ExecutionContext, app?: GrpcClient, budgetBytes = BUDGET_BYTES): Promise<Stage> {
  const budget = new MemoryBudget(budgetBytes);
  const stage: Stage = { port: 0, budget, calls: [], streams: [], held: [], app };
  const api: Partial<DaprApi> = {
    publishEvent: async ({ topic }) => {
      if (topic === 'held') await new Promise<void>((resolve) => stage.held.push(resolve));
      return {};
    },
    invokeService: async () => ({ data: { typeUrl: '', value: Buffer.alloc(MESSAGE_BYTES) }, contentType: '' }),
  };
  const server = await startGrpcServer(api as DaprApi, {
    addresses: ['127.0.0.1'],
    port: { port: 0, search: false },
    socket: '',
    maxBodyBytes: 2 * MESSAGE_BYTES,
    maxHeaderBytes: 65_536,
    budget,
    limit: new ConnectionLimit(100, () => undefined),
    streams: {
      serve: (call: ServerCall) => void stage.streams.push(call),
      close: () => undefined,
    } as unknown as Streams,
    relay: ({ path, headers }, signal) => (stage.app as GrpcClient).open(path, headers, signal),
    ready: () => true,
    onReadyChange: () => () => undefined,
    apiToken: '',
    access: new ApiAccess([], []),
    tracer: undefined,
    onCall: (call) => void stage.calls.push(call),
    onError: undefined,
    onMessage: undefined,
  });
  t.teardown(async () => {
    await server.close(AbortSignal.abort());
    await until(() => budget['kept'] === 0, 'nothing is counted any more');
  });
  return { ...stage, port: server.port };
}

function clientOf(t: ExecutionContext, { port }: Stage, options: SessionOptions = {}) {
  const session = connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000, ...options });
  const goaways: number[] = [];
  session.on('error', () => undefined).on('goaway', (code) => goaways.push(code));
  t.teardown(() => session.destroy());
  return { session, goaways };
}

interface Call {
  readonly stream: ClientHttp2Stream;
  status: string | undefined;
  /** Of the reset, undefined before the stream is closed. */
  reset: number | undefined;
}

/** A call that sends these bytes and leaves its end open. */
function begin(session: ClientHttp2Session, method: string, bytes: Uint8Array): Call {
  const path = method.startsWith('/') ? method : `/dapr.proto.runtime.v1.Dapr/${method}`;
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
  const call: Call = { stream, status: undefined, reset: undefined };
  const take = (headers: Record<string, unknown>): void => {
    if (headers['grpc-status'] !== undefined) call.status = String(headers['grpc-status']);
  };
  stream.on('response', take).on('trailers', take);
  stream.on('error', () => undefined).once('close', () => (call.reset = stream.rstCode));
  if (bytes.length > 0) stream.write(bytes);
  return call;
}

const message = (topic: string, size = 1): Buffer =>
  framed([
    PublishEventRequest.encode({
      pubsubName: 'pubsub',
      topic,
      data: Buffer.alloc(size),
      dataContentType: '',
      metadata: {},
    }).finish(),
  ]);

async function statusOf(session: ClientHttp2Session, bytes: Uint8Array, method = 'PublishEvent'): Promise<unknown> {
  const call = begin(session, method, bytes);
  call.stream.resume().end();
  await until(() => call.reset !== undefined, 'the call ends');
  return call.status;
}

test('requests that are never finished are given up when others need the memory, the oldest first', async (t) => {
  const stage = await serve(t);
  const { session } = clientOf(t, stage);
  const unfinished = message('t', MESSAGE_BYTES).subarray(0, MESSAGE_BYTES);
  const calls: Call[] = [];
  for (let i = 0; i < 20; i++) {
    calls.push(begin(session, 'PublishEvent', unfinished));
    calls.at(-1)?.stream.resume();
  }
  await until(() => calls.filter(({ status }) => status === '8').length >= 15, 'most are given up');
  t.is(calls.at(-1)?.status, undefined);
  t.is(await statusOf(clientOf(t, stage).session, message('t', MESSAGE_BYTES)), '0');
  t.is(await statusOf(session, message('t', MESSAGE_BYTES)), '0');
});

test('past the budget of requests in hand more are refused, until those end', async (t) => {
  const stage = await serve(t);
  const { session } = clientOf(t, stage);
  const calls = [1, 2, 3, 4, 5].map(() => begin(session, 'PublishEvent', message('held', MESSAGE_BYTES)));
  for (const { stream } of calls) stream.resume().end();
  await until(() => stage.held.length === 5, 'five are in hand');
  t.is(await statusOf(session, message('t', MESSAGE_BYTES)), '8');
  t.is(await statusOf(session, message('t')), '0');
  for (const letGo of stage.held) letGo();
  await until(() => calls.every(({ status }) => status === '0'), 'all five are answered');
  t.is(await statusOf(session, message('t', MESSAGE_BYTES)), '0');
});

test('answers that nobody reads are dropped when others need the memory', async (t) => {
  const stage = await serve(t);
  const { session } = clientOf(t, stage, { settings: { initialWindowSize: 0 } });
  const calls = Array.from({ length: 20 }, () => {
    const call = begin(session, 'InvokeService', framed([Buffer.alloc(0)]));
    call.stream.end();
    return call;
  });
  const dropped = (): Call[] => calls.filter(({ reset }) => reset === constants.NGHTTP2_ENHANCE_YOUR_CALM);
  await until(() => dropped().length >= 15, 'most are dropped');
  t.is(await statusOf(clientOf(t, stage).session, framed([Buffer.alloc(0)]), 'InvokeService'), '0');
});

test('the connection with the most calls ends where all of them are too many', async (t) => {
  const stage = await serve(t);
  const other = clientOf(t, stage);
  const call = begin(other.session, 'PublishEvent', message('held'));
  call.stream.resume().end();
  await until(() => stage.held.length === 1, 'another has a call in hand');
  const greedy = clientOf(t, stage);
  const calls = Array.from({ length: 200 }, () => begin(greedy.session, 'PublishEvent', Buffer.alloc(0)));
  await until(() => greedy.session.destroyed, 'its connection ends');
  t.deepEqual(greedy.goaways, [constants.NGHTTP2_ENHANCE_YOUR_CALM]);
  t.true(calls.every(({ status }) => status === undefined));
  stage.held[0]?.();
  await until(() => call.status === '0', 'the other is answered');
  t.false(other.session.destroyed);
});

test('the stream of a call that is answered closes, though its client has not ended it', async (t) => {
  const { session } = clientOf(t, await serve(t));
  for (const [method, bytes, status] of [
    ['PublishEvent', Buffer.concat([message('t'), message('t')]), '13'],
    ['/grpc.health.v1.Health/Check', framed([Buffer.alloc(0)]), '0'],
    ['/x.Y/Z', Buffer.alloc(0), '2'],
  ] as const) {
    const call = begin(session, method, bytes);
    call.stream.resume();
    await until(() => call.reset !== undefined, `${method} is closed`);
    t.is(call.status, status, method);
    t.is(call.reset, constants.NGHTTP2_NO_ERROR);
  }
  const other = session.request({ ':method': 'POST', 'content-type': 'text/plain' }, { endStream: false }).resume();
  await until(() => other.closed, 'what is no call is closed');
});

test('a stream is told of with the status that it ended with', async (t) => {
  const stage = await serve(t);
  const { session } = clientOf(t, stage);
  const endings: [number, (stream: ServerCall, client: ClientHttp2Stream) => void][] = [
    [0, (stream) => stream.end()],
    [2, (stream) => stream.end({ code: 2, details: 'stream closed' })],
    [1, (_stream, client) => client.close(constants.NGHTTP2_CANCEL)],
  ];
  for (const [at, [code, end]] of endings.entries()) {
    const { stream: client } = begin(session, 'SubscribeTopicEventsAlpha1', Buffer.alloc(0));
    client.resume();
    end(await until(() => stage.streams[at], 'the stream is open'), client);
    const told = await until(() => stage.calls[at], 'the call is told of');
    t.is(told.code, code);
    t.true(told.isStream);
  }
});

/** An app that is called at the bytes, and leaves all of them unread until it is told. */
async function startApp(t: ExecutionContext, onCall: (stream: ServerHttp2Stream) => void): Promise<GrpcClient> {
  const server = createServer().on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    onCall(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const more = { maxMessageBytes: 0, idleMs: 60_000, onCall: undefined };
  const app = new GrpcClient({ authority: `http://127.0.0.1:${port}`, ...more });
  t.teardown(() => {
    app.close();
    server.close();
  });
  return app;
}

const TO_APP = { ':method': 'POST', ':path': '/own.Service/x', 'content-type': 'application/grpc', 'dapr-app-id': 'a' };
const RELAYED_BYTES = 32 << 20;

/** Writes as fast as the other side lets it, and tells how far it came. */
function writeAll(stream: ServerHttp2Stream | ClientHttp2Stream): () => number {
  let written = 0;
  const write = (): void => {
    for (const piece = Buffer.alloc(65_536); written < RELAYED_BYTES;) {
      written += piece.length;
      if (!stream.write(piece)) return void stream.once('drain', write);
    }
    stream.end();
  };
  write();
  return () => written;
}

async function readAll(stream: ServerHttp2Stream | ClientHttp2Stream): Promise<number> {
  let [read, ended] = [0, false];
  stream.on('data', (piece: Buffer) => (read += piece.length)).on('end', () => (ended = true));
  stream.resume();
  await until(() => ended, 'all is read');
  return read;
}

test('who reads slowly holds up who writes to it through the sidecar, and gets everything', async (t) => {
  const calls: ServerHttp2Stream[] = [];
  const stage = await serve(t, await startApp(t, (stream) => calls.push(stream)), 8 * BUDGET_BYTES);
  const { session } = clientOf(t, stage);
  const { budget } = stage;
  const client = session.request(TO_APP).pause();
  const app = await until(() => calls[0], 'it has come to the app');
  const passes = async (from: ServerHttp2Stream | ClientHttp2Stream, to: typeof from): Promise<void> => {
    const written = writeAll(from);
    await until(() => budget['kept'] > 60_000, 'a window full is counted');
    for (let i = 0; i < 20; i++) t.is(await statusOf(session, message('t')), '0');
    t.true(written() < 4 << 20, `${written()} bytes are written`);
    t.is(await readAll(to), RELAYED_BYTES);
    await until(() => budget['kept'] === 0, 'nothing is counted');
  };
  await passes(client, app);
  await passes(app, client);
});

test('calls that are passed on and not read are reset when others need the memory, the oldest first', async (t) => {
  const calls: ServerHttp2Stream[] = [];
  const stage = await serve(
    t,
    await startApp(t, (stream) => void writeAll(calls[calls.push(stream) - 1] as typeof stream)),
  );
  const { session } = clientOf(t, stage);
  const begun = Array.from({ length: 20 }, () =>
    session
      .request(TO_APP)
      .on('error', () => undefined)
      .pause(),
  );
  const reset = (): ClientHttp2Stream[] =>
    begun.filter(({ rstCode }) => rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM);
  await until(() => reset().length >= 8, 'many are reset');
  t.is(await statusOf(session, message('t', MESSAGE_BYTES)), '0');
  t.false(begun.at(-1)?.closed);
  await until(() => calls.filter(({ closed }) => closed).length >= 8, 'the app hears of it');
});
