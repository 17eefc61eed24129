/** How calls that are passed on end: an app that answers at the frames, whatever gRPC says of it. */

import { once } from 'node:events';
import { connect, constants, createServer, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { framed } from '../../src/channels/framing.ts';
import { startDaprd, type Daprd } from '../_support/daprd.ts';
import { headersFrame, startFrameApp, type Field } from '../_support/frames.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { until } from '../_support/until.ts';
import { clientOf, unary } from './_own-service.ts';

const ARGS = ['--app-protocol', 'grpc', '--disable-init-endpoints', 'subscribe'];
const GRPC = { ':status': 200, 'content-type': 'application/grpc' };

type Answer = (stream: ServerHttp2Stream) => void;

/** A sidecar whose app answers by the method that is called. */
async function stage(t: ExecutionContext, answers: Readonly<Record<string, Answer>>): Promise<Daprd> {
  const server = createServer({ strictSingleValueFields: false } as object);
  server.on('session', (session) => session.on('error', () => undefined));
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    answers[String(headers[':path']).slice('/own.Service/'.length)]?.(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return startDaprd(t, { appPort: (server.address() as AddressInfo).port, args: ARGS });
}

/** Headers, a message where there is one, and trailers. */
const answered =
  (headers: object, trailers: object, body?: Uint8Array): Answer =>
  (stream) => {
    stream.respond({ ...GRPC, ...headers }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers as Record<string, string>));
    stream.end(body);
  };

/** The header blocks of the answer to a call, names and values in turn. */
async function blocksOf(t: ExecutionContext, { grpcPort }: Daprd, method: string, type = GRPC['content-type']) {
  const session = connect(`http://127.0.0.1:${grpcPort}`).on('error', () => undefined);
  t.teardown(() => session.destroy());
  const headers = { ':method': 'POST', ':path': `/own.Service/${method}`, 'content-type': type, 'dapr-app-id': 'app' };
  const stream = session.request(headers);
  const blocks: string[][] = [];
  const keep = (_headers: object, _flags: number, raw: string[]): number => blocks.push(raw);
  stream.on('response', keep as never).on('trailers', keep as never);
  stream
    .on('error', () => undefined)
    .resume()
    .end(framed([Buffer.from('x')]));
  await until(() => stream.closed, `${method} ends`);
  return blocks;
}

const valuesOf = (block: readonly string[] = [], wanted: string): string[] =>
  block.filter((_, i) => i % 2 === 1 && block[i - 1] === wanted);

test('trailers that come more than once go on as they came, and so does the type of the answer', async (t) => {
  const many = { 'x-late': ['a', 'b'], 'late-bin': ['AP8', 'AQI'], etag: ['1', '2'] };
  const json = { 'content-type': 'application/grpc+json' };
  const daprd = await stage(t, {
    whole: answered({ ...json, ...many }, { 'grpc-status': '0', ...many }, framed([Buffer.from('{}')])),
    trailersOnly: (stream) =>
      stream.respond({ ...GRPC, ...json, 'grpc-status': '5', ...many } as object as OutgoingHttpHeaders, {
        endStream: true,
      }),
  });
  for (const method of ['whole', 'trailersOnly']) {
    const blocks = await blocksOf(t, daprd, method, json['content-type']);
    for (const [name, values] of Object.entries(many)) t.deepEqual(valuesOf(blocks.at(-1), name), values, name);
    t.deepEqual(valuesOf(blocks[0], 'content-type'), [json['content-type']], method);
  }
});

test('a call that its app resets, or answers without a status of gRPC, has the code that gRPC has for it', async (t) => {
  const reset =
    (code: number): Answer =>
    (stream) =>
      stream.close(code);
  const http =
    (status: number): Answer =>
    (stream) =>
      stream.respond({ ':status': status }, { endStream: true });
  const {
    NGHTTP2_CANCEL,
    NGHTTP2_ENHANCE_YOUR_CALM,
    NGHTTP2_INADEQUATE_SECURITY,
    NGHTTP2_INTERNAL_ERROR,
    NGHTTP2_NO_ERROR,
    NGHTTP2_REFUSED_STREAM,
  } = constants;
  const cases: [string, number, Answer][] = [
    ['cancel', 1, reset(NGHTTP2_CANCEL)],
    ['refused', 14, reset(NGHTTP2_REFUSED_STREAM)],
    ['calm', 8, reset(NGHTTP2_ENHANCE_YOUR_CALM)],
    ['insecure', 7, reset(NGHTTP2_INADEQUATE_SECURITY)],
    ['internal', 13, reset(NGHTTP2_INTERNAL_ERROR)],
    ['nothing', 13, reset(NGHTTP2_NO_ERROR)],
    ['401', 16, http(401)],
    ['403', 7, http(403)],
    ['404', 12, http(404)],
    ['400', 13, http(400)],
    ['503', 14, http(503)],
    ['418', 2, http(418)],
    ['page', 2, (stream) => (stream.respond({ ':status': 200, 'content-type': 'text/html' }), stream.end('<html>'))],
    ['silent', 13, (stream) => stream.respond(GRPC, { endStream: true })],
    ['lost', 14, (stream) => stream.session?.destroy()],
    ['begunAndLost', 14, (stream) => (stream.respond(GRPC), setImmediate(() => stream.session?.destroy()))],
  ];
  const daprd = await stage(t, Object.fromEntries(cases.map(([method, , answer]) => [method, answer])));
  const client = clientOf(t, daprd, { 'grpc.enable_retries': 0 });
  for (const [method, code] of cases) {
    t.is((await unary(client, '', { path: `/own.Service/${method}` })).status.code, code, method);
  }
});

test('a call that its app resets when its time is over is DEADLINE_EXCEEDED, whoever looked at the clock first', async (t) => {
  const daprd = await stage(t, { late: (stream) => stream.close(constants.NGHTTP2_CANCEL) });
  const session = connect(`http://127.0.0.1:${daprd.grpcPort}`);
  t.teardown(() => session.destroy());
  const headers = { ':method': 'POST', ':path': '/own.Service/late', 'content-type': 'application/grpc' };
  const codes: unknown[] = [];
  for (let i = 0; i < 300; i++) {
    // Timers have milliseconds: the reset is mostly there before.
    const stream = session.request({ ...headers, 'dapr-app-id': 'app', 'grpc-timeout': '1n' });
    const take = (got: Record<string, unknown>): void => {
      if (got['grpc-status'] !== undefined) codes.push(got['grpc-status']);
    };
    stream.on('response', take).on('trailers', take).resume().end();
    await once(stream, 'close');
  }
  t.deepEqual([codes.length, ...new Set(codes)], [300, '4']);
});

test('a status that is none does not reach the client, whose other calls it would cost', async (t) => {
  const daprd = await stage(
    t,
    Object.fromEntries(
      ['-1x', '99', '', '5.0'].map((status) => [`s${status}`, answered({}, { 'grpc-status': status })]),
    ),
  );
  for (const method of ['s-1x', 's99', 's', 's5.0']) {
    t.deepEqual(valuesOf((await blocksOf(t, daprd, method)).at(-1), 'grpc-status'), ['2'], method);
  }
});

test('headers that no library would send do not leave the caller without an answer', async (t) => {
  const odd: Field = ['http2-settings', 'AAMAAABk'];
  const ok: Field[] = [
    [':status', '200'],
    ['content-type', 'application/grpc'],
  ];
  const status: Field = ['grpc-status', '9'];
  const kinds = [
    (id: number) => headersFrame(id, [...ok, status, odd], true),
    (id: number) => Buffer.concat([headersFrame(id, [...ok, odd]), headersFrame(id, [status, odd], true)]),
  ];
  let calls = 0;
  const app = await startFrameApp((id) => kinds[calls++ % kinds.length]?.(id));
  t.teardown(() => app.close());
  const client = clientOf(t, await startDaprd(t, { appPort: app.port, args: ARGS }));
  for (let i = 0; i < 4; i++) {
    t.is((await unary(client, '', { call: { deadline: Date.now() + 10_000 } })).status.code, 9);
  }
});

test('with an app id the health service that answers is that of the app', async (t) => {
  const app = await startGrpcApp({});
  t.teardown(() => app.close());
  const client = clientOf(t, await startDaprd(t, { appPort: app.port, args: ARGS }));
  const path = '/grpc.health.v1.Health/Check';
  t.is((await unary(client, '', { path, headers: {} })).status.code, 0);
  t.is((await unary(client, '', { path })).status.code, 12);
  t.is((await unary(client, '', { path, headers: { 'dapr-callee-app-id': 'app' } })).status.code, 12);
});
