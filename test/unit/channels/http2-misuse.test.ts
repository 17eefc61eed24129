/** An app that keeps to nothing, or ends its connections when it likes. */

import { createServer, type AddressInfo } from 'node:net';
import test from 'ava';
import { GrpcCallError } from '../../../src/channels/call-end.ts';
import { GrpcClient } from '../../../src/channels/grpc-client.ts';
import { frame, headersFrame, type Field } from '../../_support/frames.ts';
import {
  ANSWER,
  answered,
  answering,
  call,
  CONTINUATION,
  DATA,
  DONE,
  END_HEADERS,
  END_STREAM,
  GOAWAY,
  HEADERS,
  number32,
  OK,
  onRequest,
  PADDED,
  PING,
  RST_STREAM,
  SETTINGS,
  settings,
  startApp,
  WINDOW_UPDATE,
} from './_frame-app.ts';

const OPEN = headersFrame(1, OK).subarray(9);
const MORE = frame(CONTINUATION, 0, 1, Buffer.alloc(0));

for (const [what, bytes, code] of [
  ['an answer of HTTP/1.1', () => Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), 14],
  [
    'headers that go on and on',
    () => Buffer.concat([frame(HEADERS, 0, 1, OPEN), ...Array.from({ length: 200 }, () => MORE)]),
    14,
  ],
  [
    'headers of more than a megabyte',
    () =>
      Buffer.concat([
        frame(HEADERS, 0, 1, OPEN),
        ...Array.from({ length: 70 }, () => frame(CONTINUATION, 0, 1, Buffer.alloc(16_000))),
      ]),
    14,
  ],
  ['a frame size that is none', () => settings([5, 2 ** 24]), 14],
  ['a window that is none', () => settings([4, 2 ** 31]), 14],
  [
    'a message and a status without headers',
    () => Buffer.concat([frame(DATA, 0, 1, ANSWER), headersFrame(1, DONE, true)]),
    13,
  ],
  ['an index that nothing has', () => frame(HEADERS, END_HEADERS, 1, Buffer.from([0xff, 0x70])), 14],
  ['data of no stream', () => frame(DATA, 0, 0, Buffer.from('x')), 14],
  ['more padding than bytes', () => frame(DATA, PADDED, 1, Buffer.from([9, 1])), 14],
  ['something else within headers', () => Buffer.concat([frame(HEADERS, 0, 1, Buffer.from([0x88])), answered(1)]), 14],
  ['a window that grows by nothing', () => frame(WINDOW_UPDATE, 0, 0, number32(0)), 14],
  ['a window without end', () => frame(WINDOW_UPDATE, 0, 0, number32(0x7f_ff_ff_ff)), 14],
  ['a promise', () => frame(5, END_HEADERS, 1, Buffer.alloc(4)), 14],
  ['a ping that is too short', () => frame(PING, 0, 0, Buffer.from('1')), 14],
  ['a reset', () => frame(RST_STREAM, 0, 1, number32(2)), 13],
  ['a reset for its size', () => frame(RST_STREAM, 0, 1, number32(11)), 8],
  ['an end without a status', () => headersFrame(1, OK, true), 13],
  ['a status of HTTP', () => headersFrame(1, [[':status', '503']], true), 14],
  [
    'a page',
    () =>
      headersFrame(
        1,
        [
          [':status', '200'],
          ['content-type', 'text/html'],
        ],
        true,
      ),
    2,
  ],
] as const) {
  test(`${what} ends a call, and the next one has a connection`, async (t) => {
    let isFirst = true;
    const app = await startApp(
      t,
      onRequest((stream, socket) => {
        socket.write(isFirst ? bytes() : answered(stream));
        isFirst = false;
      }),
    );
    await t.throwsAsync(call(app), { instanceOf: GrpcCallError, code } as object);
    t.is(String(await call(app)), 'yes');
  });
}

test('the end of a connection ends its calls, and the next one has another', async (t) => {
  const app = await startApp(
    t,
    onRequest((stream, socket) => {
      if (app.sockets.length === 1) socket.end();
      else socket.write(answered(stream));
    }),
  );
  const lost = { instanceOf: GrpcCallError, code: 14, message: 'the connection was lost' } as object;
  await Promise.all([t.throwsAsync(call(app), lost), t.throwsAsync(call(app), lost)]);
  t.is(String(await call(app)), 'yes');
});

test('an app that is not there is told of as such', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const client = new GrpcClient({
    host: '127.0.0.1',
    port,
    tls: false,
    maxMessageBytes: 0,
    idleMs: 1000,
    onCall: undefined,
  });
  const error = await t.throwsAsync(client.call('/a.B/C', Buffer.alloc(0), [], new AbortController().signal));
  t.regex(error.message, /ECONNREFUSED/);
});

test('trailers that are too large fail their own call, and no other', async (t) => {
  const large = Array.from({ length: 700 }, (_, i): Field => [`x-${i}`, 'x'.repeat(100)]);
  const app = await startApp(
    t,
    onRequest((stream, socket) => {
      if (stream !== 3) return;
      const block = headersFrame(1, [...DONE, ...large]).subarray(9);
      socket.write(Buffer.concat([headersFrame(1, OK), frame(DATA, 0, 1, ANSWER)]));
      socket.write(frame(HEADERS, END_STREAM, 1, block.subarray(0, 16_000)));
      for (let at = 16_000; at < block.length; at += 16_000) {
        const isLast = at + 16_000 >= block.length;
        socket.write(frame(CONTINUATION, isLast ? END_HEADERS : 0, 1, block.subarray(at, at + 16_000)));
      }
      socket.write(answered(3));
    }),
  );
  const [first, second] = [call(app), call(app)];
  await t.throwsAsync(first, { instanceOf: GrpcCallError, code: 8 } as object);
  t.is(String(await second), 'yes');
  t.is(app.sockets.length, 1);
});

test('what settings allow comes after they were acknowledged', async (t) => {
  const app = await startApp(
    t,
    ({ type, flags, stream }, socket) => {
      if (type === DATA && (flags & END_STREAM) === 0) socket.write(settings([4, 60_000]));
      if (type === DATA && (flags & END_STREAM) !== 0) socket.write(answered(stream));
    },
    settings([4, 10_000]),
  );
  await call(app, Buffer.alloc(30_000));
  const order = app.got.map(({ type, flags }) =>
    type === SETTINGS ? `settings ${flags}` : type === DATA ? 'data' : '',
  );
  const [first, second] = [order.indexOf('data'), order.lastIndexOf('settings 1')];
  t.true(first < second && second < order.lastIndexOf('data'));
  t.deepEqual(order.filter((one) => one !== '').slice(2, 5), ['data', 'settings 1', 'data']);
});

test('calls that have not left are no attempts, however often their connection ends before', async (t) => {
  const app = await startApp(
    t,
    onRequest((stream, socket) =>
      socket.write(Buffer.concat([frame(GOAWAY, 0, 0, number32(stream, 0)), answered(stream)])),
    ),
    settings([3, 1]),
  );
  const answers = await Promise.all(Array.from({ length: 5 }, () => call(app)));
  t.deepEqual(
    answers.map(String),
    Array.from({ length: 5 }, () => 'yes'),
  );
  t.is(app.got.filter(({ type }) => type === HEADERS).length, 5);
});

test('an app that asks and asks, and does not read, loses its connection; so does one that says why', async (t) => {
  const pings = Buffer.concat(Array.from({ length: 20_000 }, () => frame(PING, 0, 0, Buffer.alloc(8))));
  const flooding = await startApp(
    t,
    onRequest((_stream, socket) => {
      socket.pause();
      const flood = (): boolean => socket.destroyed || socket.write(pings, () => setImmediate(flood));
      flood();
    }),
  );
  await t.throwsAsync(call(flooding), { instanceOf: GrpcCallError, code: 14 } as object);
  const leaving = await startApp(
    t,
    onRequest((_stream, socket) => {
      socket.end(frame(GOAWAY, 0, 0, Buffer.concat([number32(1, 11), Buffer.from('too_many_pings')])));
    }),
  );
  const message = 'the app ended the connection: code 11 too_many_pings';
  await t.throwsAsync(call(leaving), { instanceOf: GrpcCallError, code: 14, message } as object);
});

test('pieces of an answer that say nothing cost nothing', async (t) => {
  const nothing = Buffer.concat(Array.from({ length: 5000 }, () => frame(DATA, 0, 1, Buffer.alloc(0))));
  const bits = Buffer.concat([...ANSWER].map((byte) => frame(DATA, 0, 1, Buffer.of(byte))));
  const app = await startApp(
    t,
    answering(() => Buffer.concat([headersFrame(1, OK), nothing, bits, headersFrame(1, DONE, true)])),
  );
  t.is(String(await call(app)), 'yes');
});
