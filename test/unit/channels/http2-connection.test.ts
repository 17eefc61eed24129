/** An app that writes single frames, and what comes of them. */

import test from 'ava';
import { GrpcCallError } from '../../../src/channels/call-end.ts';
import { framed } from '../../../src/channels/framing.ts';
import { frame, headersFrame } from '../../_support/frames.ts';
import { until } from '../../_support/until.ts';
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
  PRIORITY,
  RST_STREAM,
  SETTINGS,
  settings,
  startApp,
  WINDOW_UPDATE,
} from './_frame-app.ts';

test('an answer is read, however it is cut', async (t) => {
  const app = await startApp(
    t,
    onRequest((stream, socket) => {
      const bytes = answered(stream);
      const write = (at: number): void => {
        if (at < bytes.length) socket.write(bytes.subarray(at, at + 1), () => setImmediate(write, at + 1));
      };
      write(0);
    }),
  );
  t.is(String(await call(app)), 'yes');
});

test('padding, priorities, headers in pieces, interim answers and unknown frames are read over', async (t) => {
  const app = await startApp(
    t,
    answering((stream) => {
      const block = headersFrame(stream, OK).subarray(9);
      const padded = Buffer.concat([Buffer.from([3]), Buffer.alloc(5), block.subarray(0, 4), Buffer.alloc(3)]);
      return Buffer.concat([
        headersFrame(stream, [[':status', '103']]),
        frame(HEADERS, PADDED | PRIORITY, stream, padded),
        frame(CONTINUATION, 0, stream, block.subarray(4, 9)),
        frame(CONTINUATION, END_HEADERS, stream, block.subarray(9)),
        frame(99, 255, stream, Buffer.from('?')),
        frame(DATA, PADDED, stream, Buffer.concat([Buffer.from([2]), ANSWER, Buffer.alloc(2)])),
        headersFrame(stream, DONE, true),
      ]);
    }),
  );
  t.is(String(await call(app)), 'yes');
});

test('a request longer than the windows goes as the app makes room', async (t) => {
  const message = Buffer.alloc(200_000, 'm');
  let received = 0;
  const app = await startApp(
    t,
    ({ type, stream, flags, payload }, socket) => {
      if (type !== DATA) return;
      t.true(payload.length <= 16_384);
      received += payload.length;
      if ((flags & END_STREAM) !== 0) return void socket.write(answered(stream));
      socket.write(frame(WINDOW_UPDATE, 0, 0, number32(payload.length)));
      socket.write(frame(WINDOW_UPDATE, 0, stream, number32(payload.length)));
    },
    settings([4, 1000]),
  );
  t.is(String(await call(app, message)), 'yes');
  t.is(received, 5 + message.length);
});

test('a window that the app makes smaller while a request leaves is kept to', async (t) => {
  let open = 0;
  const app = await startApp(
    t,
    ({ type, stream, flags, payload }, socket) => {
      if (type !== DATA) return;
      open += payload.length;
      if ((flags & END_STREAM) !== 0) return void socket.write(answered(stream));
      if (open === 50_000) {
        socket.write(Buffer.concat([settings([4, 100]), frame(WINDOW_UPDATE, 0, stream, number32(49_900))]));
        socket.write(frame(WINDOW_UPDATE, 0, stream, number32(60_000)));
      }
    },
    settings([4, 50_000]),
  );
  t.is(String(await call(app, Buffer.alloc(60_000))), 'yes');
});

test('no more calls are begun than the app takes at once', async (t) => {
  const held: number[] = [];
  const app = await startApp(
    t,
    onRequest((stream) => held.push(stream)),
    settings([3, 2]),
  );
  const calls = Array.from({ length: 5 }, () => call(app));
  for (const [at, streams] of [
    [0, [1, 3]],
    [2, [1, 3, 5, 7]],
    [4, [1, 3, 5, 7, 9]],
  ] as const) {
    await until(() => held.length === streams.length, `${streams.length} calls have begun`);
    t.deepEqual(held, [...streams]);
    for (const stream of held.slice(at)) app.sockets[0]?.write(answered(stream));
  }
  t.is((await Promise.all(calls)).length, 5);
});

test('a call that waits and is given up is never begun; one that has begun is reset', async (t) => {
  const held: number[] = [];
  const app = await startApp(
    t,
    onRequest((stream) => held.push(stream)),
    settings([3, 1]),
  );
  const [first, second] = [new AbortController(), new AbortController()];
  const calls = [first, second].map(({ signal }) => app.client.call('/a.B/C', Buffer.alloc(0), [], signal));
  await until(() => held.length === 1, 'the first call has begun');
  second.abort();
  await t.throwsAsync(calls[1] as Promise<Buffer>, { instanceOf: GrpcCallError, code: 1 } as object);
  first.abort();
  await t.throwsAsync(calls[0] as Promise<Buffer>, { instanceOf: GrpcCallError, code: 1 } as object);
  await until(() => app.got.some(({ type }) => type === RST_STREAM), 'the call is reset');
  t.deepEqual([...(app.got.find(({ type }) => type === RST_STREAM)?.payload ?? [])], [0, 0, 0, 8]);
  t.deepEqual(held, [1]);
});

test('what an app did not look at before it said goodbye goes out on another connection, what it did is answered', async (t) => {
  const app = await startApp(
    t,
    onRequest((stream, socket) => {
      if (app.sockets.indexOf(socket) > 0) return void socket.write(answered(stream));
      if (stream !== 3) return;
      socket.write(frame(GOAWAY, 0, 0, number32(1, 0)));
      socket.write(answered(1));
    }),
  );
  t.deepEqual((await Promise.all([call(app), call(app)])).map(String), ['yes', 'yes']);
  t.is(app.sockets.length, 2);
  await until(() => app.sockets[0]?.destroyed, 'the first connection is closed');
});

test('a ping is answered with what it says, settings are acknowledged', async (t) => {
  const app = await startApp(
    t,
    answering((stream) => Buffer.concat([frame(PING, 0, 0, Buffer.from('12345678')), answered(stream)])),
  );
  await call(app);
  await until(() => app.got.some(({ type }) => type === PING), 'the ping is answered');
  t.like(
    app.got.find(({ type }) => type === PING),
    { flags: 1, payload: Buffer.from('12345678') },
  );
  t.is(app.got.filter(({ type, flags }) => type === SETTINGS && flags === 1).length, 1);
});

test('an answer of many messages’ size is read as the app is told to go on, and refused past the limit', async (t) => {
  const large = framed([Buffer.alloc(3_000_000, 'a')]);
  let taken = 0;
  let resume: (() => void) | undefined;
  const app = await startApp(
    t,
    ({ type, flags, stream, payload }, socket) => {
      if (type === WINDOW_UPDATE && stream !== 0) {
        taken -= payload.readUInt32BE(0);
        resume?.();
      }
      if (type !== DATA || (flags & END_STREAM) === 0) return;
      socket.write(headersFrame(stream, OK));
      let at = 0;
      resume = () => {
        for (; at < large.length && taken + 16_384 <= 1 << 20; at += 16_384) {
          const part = large.subarray(at, at + 16_384);
          taken += part.length;
          socket.write(frame(DATA, 0, stream, part));
        }
        if (at >= large.length) socket.write(headersFrame(stream, DONE, true));
      };
      resume();
    },
    settings(),
    4_000_000,
  );
  t.is((await call(app)).length, 3_000_000);

  const strict = await startApp(
    t,
    answering((stream) => Buffer.concat([headersFrame(stream, OK), frame(DATA, 0, stream, Buffer.alloc(2000))])),
    settings(),
    1000,
  );
  await t.throwsAsync(call(strict), { instanceOf: GrpcCallError, code: 8 } as object);
});

test('metadata of more than a frame goes in several', async (t) => {
  const app = await startApp(t, answering(answered));
  t.is(String(await call(app, Buffer.alloc(0), ['long', 'x'.repeat(40_000)])), 'yes');
  t.is(app.got.filter(({ type }) => type === CONTINUATION).length, 2);
});

test('an app that remembers no headers is told so before the first', async (t) => {
  const app = await startApp(t, answering(answered), settings([1, 0]));
  await call(app);
  const heads = app.got.filter(({ type }) => type === HEADERS);
  await call(app);
  t.is(heads[0]?.payload[0], 0x20);
});
