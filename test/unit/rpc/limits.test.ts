/** What a client may cost that does not behave. */

import { constants, type ClientHttp2Stream } from 'node:http2';
import test from 'ava';
import { framed } from '../../../src/channels/framing.ts';
import type { ServerCall } from '../../../src/rpc/call.ts';
import { until } from '../../_support/until.ts';
import { begin, clientOf, message, MESSAGE_BYTES, serve, statusOf, type Call } from './_small-server.ts';

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
