/** What clients other than the usual ones may send: single frames, written with node:http2 and node:net. */

import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { deflateSync, gzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import { GetMetadataResponse } from '../../gen/dapr/proto/runtime/v1/metadata.ts';
import {
  PublishEventRequest,
  SubscribeTopicEventsRequestAlpha1,
  SubscribeTopicEventsResponseAlpha1,
} from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { MessageReader } from '../../src/channels/framing.ts';
import { componentFile, publish, startDaprd, type Daprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const DAPR = '/dapr.proto.runtime.v1.Dapr';

function session(t: ExecutionContext, { grpcPort }: Daprd): ClientHttp2Session {
  const connection = connect(`http://127.0.0.1:${grpcPort}`);
  connection.on('error', () => undefined);
  t.teardown(() => connection.destroy());
  return connection;
}

const prefixed = (message: Uint8Array, compressed = false): Buffer => {
  const prefix = Buffer.from([compressed ? 1 : 0, 0, 0, 0, 0]);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
};

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders;
  readonly messages: Buffer[];
}

/** A call that sends each piece by itself; one with a timeout does not end unless it is told to. */
function call(
  connection: ClientHttp2Session,
  method: string,
  pieces: readonly Uint8Array[],
  more: Record<string, string> = {},
  ends = !('grpc-timeout' in more),
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const stream = connection.request({
      ':method': 'POST',
      ':path': method.startsWith('/') ? method : `${DAPR}/${method}`,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
      ...more,
    });
    let headers: IncomingHttpHeaders = {};
    let trailers: IncomingHttpHeaders = {};
    const messages: Buffer[] = [];
    const reader = new MessageReader(Infinity, (bytes) => messages.push(bytes));
    stream.on('response', (all) => (headers = all));
    stream.on('trailers', (all) => (trailers = all));
    stream.on('data', (piece: Buffer) => reader.push(piece));
    stream.on('error', reject);
    stream.on('end', () => stream.end());
    stream.on('close', () =>
      resolve({ headers, trailers: headers['grpc-status'] === undefined ? trailers : headers, messages }),
    );
    const send = (at: number): void => {
      const piece = pieces[at];
      if (piece) stream.write(piece, () => send(at + 1));
      else if (ends) stream.end();
    };
    send(0);
  });
}

const event = (topic: string, data = '{"n":1}'): Uint8Array =>
  PublishEventRequest.encode({
    pubsubName: 'pubsub',
    topic,
    data: Buffer.from(data),
    dataContentType: 'application/json',
    metadata: {},
  }).finish();

async function stage(t: ExecutionContext) {
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 't', route: '/t' }] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, args: ['--max-body-size=64Ki'] });
  return { app, daprd, connection: session(t, daprd) };
}

test('messages arrive however they are cut, and compressed', async (t) => {
  const { app, connection } = await stage(t);
  const whole = prefixed(event('t'));
  const status = async (pieces: readonly Uint8Array[], encoding?: string): Promise<unknown> =>
    (await call(connection, 'PublishEvent', pieces, encoding ? { 'grpc-encoding': encoding } : {})).trailers[
      'grpc-status'
    ];
  t.is(await status([whole]), '0');
  t.is(await status([...whole].map((byte) => Buffer.from([byte]))), '0');
  t.is(await status([whole.subarray(0, 3), whole.subarray(3, 9), whole.subarray(9)]), '0');
  t.is(await status([prefixed(gzipSync(event('t')), true)], 'gzip'), '0');
  t.is(await status([prefixed(deflateSync(event('t')), true)], 'deflate'), '0');
  t.is(await status([prefixed(event('t'))], 'gzip'), '0'); // announced, not used
  await until(() => app.received.length === 6, 'all six arrive');
});

test('an answer says what it is, and ends with trailers', async (t) => {
  const { connection } = await stage(t);
  const { headers, trailers, messages } = await call(connection, 'GetMetadata', [prefixed(Buffer.alloc(0))]);
  t.like(headers, { ':status': 200, 'content-type': 'application/grpc' });
  t.like(trailers, { 'grpc-status': '0', 'grpc-message': '' });
  t.is(messages.length, 1);
  t.is(GetMetadataResponse.decode(messages[0] as Buffer).id, 'app');
});

const REFUSED: readonly [name: string, pieces: readonly Buffer[], headers: Record<string, string>, code: string][] = [
  ['nothing', [], {}, '13'],
  ['two messages', [prefixed(event('t')), prefixed(event('t'))], {}, '13'],
  [
    'two compressed messages',
    [prefixed(gzipSync(event('t')), true), prefixed(gzipSync(event('t')), true)],
    { 'grpc-encoding': 'gzip' },
    '13',
  ],
  ['half a message', [prefixed(event('t')).subarray(0, 20)], {}, '13'],
  ['bytes that are no message', [prefixed(Buffer.from('ffffffffff', 'hex'))], {}, '13'],
  ['a message of which the prefix says that it is too long', [Buffer.from([0, 0x7f, 0xff, 0xff, 0xff])], {}, '8'],
  [
    'a message that grows past the limit when inflated',
    [prefixed(gzipSync(Buffer.alloc(1_000_000)), true)],
    { 'grpc-encoding': 'gzip' },
    '8',
  ],
  ['what is not compressed, though it says so', [prefixed(event('t'), true)], { 'grpc-encoding': 'gzip' }, '13'],
  ['what is compressed by nothing', [prefixed(event('t'), true)], {}, '13'],
  ['an encoding that nobody knows', [prefixed(event('t'), true)], { 'grpc-encoding': 'br' }, '12'],
  ['a malformed timeout', [], { 'grpc-timeout': 'soon' }, '13'],
  ['a flag that is none', [Buffer.concat([Buffer.from([0x80]), prefixed(event('t')).subarray(1)])], {}, '13'],
];
test('what is no request is refused, and the connection goes on', async (t) => {
  const { app, connection } = await stage(t);
  for (const [name, pieces, headers, code] of REFUSED) {
    t.is((await call(connection, 'PublishEvent', pieces, headers)).trailers['grpc-status'], code, name);
  }
  t.is((await call(connection, 'Nothing', [prefixed(Buffer.alloc(0))])).trailers['grpc-status'], '12');
  for (const type of ['text/plain', 'application/grpc-web', 'application/grpc-web+proto', 'application/grpcx']) {
    const { headers } = await call(connection, 'PublishEvent', [prefixed(event('t'))], { 'content-type': type });
    t.like(headers as object, { ':status': 415 }, type);
  }
  const odd = await call(connection, 'PublishEvent', [prefixed(event('t'))], { 'grpc-timeout': '1.5S' }, true);
  t.is(odd.trailers['grpc-status'], '13');
  for (const method of ['PUT', 'OPTIONS']) {
    const { headers } = await call(connection, 'PublishEvent', [prefixed(event('t'))], { ':method': method });
    t.like(headers as object, { ':status': 405 }, method);
  }
  t.is((await call(connection, 'PublishEvent', [prefixed(event('t'))])).trailers['grpc-status'], '0');
  await until(() => app.received.length > 0, 'the only one that was accepted arrives');
  t.is(app.received.length, 1);
});

test('a refusal fits into what clients take of trailers, and names the encodings that are read', async (t) => {
  const { connection } = await stage(t);
  const { trailers } = await call(connection, '\u00e9%'.repeat(7000), []);
  t.is(trailers['grpc-status'], '12');
  t.true(String(trailers['grpc-message']).length < 5000);
  t.true(decodeURIComponent(String(trailers['grpc-message'])).startsWith(`the method ${DAPR}/\u00e9%`));
  const unknown = await call(connection, 'PublishEvent', [prefixed(event('t'), true)], { 'grpc-encoding': 'br' });
  t.like(unknown.trailers, { 'grpc-status': '12', 'grpc-accept-encoding': 'identity,gzip,deflate' });
});

test('what is no call may be reset with an error: it is none of the sidecar', async (t) => {
  const { daprd, connection } = await stage(t);
  const reset = connection.request({ ':method': 'POST', ':path': '/', 'content-type': 'text/plain' });
  reset.on('error', () => undefined);
  reset.close(constants.NGHTTP2_INTERNAL_ERROR);
  await new Promise((resolve) => reset.once('close', resolve));
  t.is((await call(connection, 'PublishEvent', [prefixed(event('t'))])).trailers['grpc-status'], '0');
  t.notRegex(daprd.log(), /unexpected error/);
});

test('a call has room for many and long headers, up to what --read-buffer-size allows', async (t) => {
  const daprd = await startDaprd(t, { args: ['--read-buffer-size=100'] });
  const publishWith = (headers: Record<string, string>): Promise<string | undefined> =>
    call(session(t, daprd), 'PublishEvent', [prefixed(event('t'))], headers).then(
      ({ trailers }) => String(trailers['grpc-status']),
      () => 'refused',
    );
  const many = (count: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'x'.repeat(100)]));
  t.is(await publishWith(many(500)), '0');
  t.is(await publishWith(many(1000)), 'refused');
});

test('a call whose time is over is DEADLINE_EXCEEDED', async (t) => {
  const { connection } = await stage(t);
  const late = call(connection, 'PublishEvent', [prefixed(event('t')).subarray(0, 20)], { 'grpc-timeout': '50m' });
  t.is((await late).trailers['grpc-status'], '4');
});

test('thousands of calls that are given up at once do not cost their connection', async (t) => {
  const { connection } = await stage(t);
  const calls = Array.from({ length: 3000 }, () => {
    const stream = connection.request({
      ':method': 'POST',
      ':path': `${DAPR}/PublishEvent`,
      'content-type': 'application/grpc',
    });
    return stream.on('error', () => undefined);
  });
  t.is((await call(connection, 'PublishEvent', [prefixed(event('t'))])).trailers['grpc-status'], '0');
  for (const stream of calls) stream.close(constants.NGHTTP2_CANCEL);
  for (let i = 0; i < 3; i++)
    t.is((await call(connection, 'PublishEvent', [prefixed(event('t'))])).trailers['grpc-status'], '0');
});

test('a client that sends nonsense into its stream loses the stream, and its events go to another', async (t) => {
  const daprd = await startDaprd(t, { resources: { 'pubsub.yaml': componentFile('pubsub.sqlite') } });
  const open = (onEvent: (id: string) => void) => {
    const stream = session(t, daprd).request({
      ':method': 'POST',
      ':path': `${DAPR}/SubscribeTopicEventsAlpha1`,
      'content-type': 'application/grpc',
    });
    let live = false;
    const reader = new MessageReader(Infinity, (bytes) => {
      const { subscribeTopicEventsResponseType: is } = SubscribeTopicEventsResponseAlpha1.decode(bytes);
      if (is?.$case === 'eventMessage') onEvent(is.value.id);
      else live = true;
    });
    stream.on('data', (piece: Buffer) => reader.push(piece));
    const value = { pubsubName: 'pubsub', topic: 't', metadata: {}, deadLetterTopic: undefined };
    const initial = { subscribeTopicEventsRequestType: { $case: 'initialRequest' as const, value } };
    stream.write(prefixed(SubscribeTopicEventsRequestAlpha1.encode(initial).finish()));
    return { stream, live: () => until(() => live, 'the stream is live') };
  };
  const seen: string[] = [];
  const first = open((id) => seen.push(id));
  await first.live();
  await publish(daprd, 't', 1);
  await until(() => seen.length === 1, 'the first has it');
  const closed = new Promise<string>((resolve) =>
    first.stream.once('trailers', (trailers) => resolve(String(trailers['grpc-status']))),
  );
  first.stream.write(prefixed(Buffer.from('ffffffffff', 'hex')));
  t.is(await closed, '13');
  const second = open((id) => seen.push(id));
  await second.live();
  await until(() => seen.length === 2, 'the second has it');
  t.is(seen[1], seen[0]);
});

test('what is no HTTP/2 is hung up on, others are served on', async (t) => {
  const { daprd, connection } = await stage(t);
  const answered = await new Promise<string>((resolve) => {
    let text = '';
    const socket = connectTcp(daprd.grpcPort, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    socket.on('data', (piece) => (text += piece.toString('latin1')));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(text));
  });
  t.false(answered.startsWith('HTTP/1.1 200'));
  t.is((await call(connection, 'PublishEvent', [prefixed(event('t'))])).trailers['grpc-status'], '0');
});
