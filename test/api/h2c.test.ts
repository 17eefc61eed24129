import { connect, constants, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { publish, startDaprd, type Daprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A client that speaks HTTP/2 from the first byte. */
function sessionWith(t: ExecutionContext, daprd: Daprd): ClientHttp2Session {
  const session = connect(daprd.http);
  session.on('error', () => undefined);
  t.teardown(() => session.destroy());
  return session;
}

function ask(session: ClientHttp2Session, method: string, path: string, body = '', type = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = { ':method': method, ':path': path, ...(type && { 'content-type': type }) };
    const stream = session.request(headers, { endStream: body === '' });
    let received: IncomingHttpHeaders = {};
    let text = '';
    stream.on('response', (given) => (received = given));
    stream.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    stream.on('error', reject);
    stream.on('end', () =>
      resolve({ status: Number(received[constants.HTTP2_HEADER_STATUS]), headers: received, body: text }),
    );
    if (body !== '') stream.end(body);
  });
}

test('the HTTP API is served over HTTP/2 without TLS, many calls at once on one connection', async (t) => {
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'a', route: '/a' }] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const session = sessionWith(t, daprd);
  const answers = await Promise.all(
    [...Array(200).keys()].map((n) => ask(session, 'POST', '/v1.0/publish/pubsub/a', String(n), 'application/json')),
  );
  t.deepEqual([...new Set(answers.map(({ status }) => status))], [204]);
  await until(() => app.received.length === 200, 'all arrive');
  t.deepEqual(new Set(app.received.map(({ event }) => event['data'])), new Set(Array(200).keys()));
  const metadata = await ask(session, 'GET', '/v1.0/metadata');
  t.is((JSON.parse(metadata.body) as { id: string }).id, 'app');
  t.is((await ask(session, 'GET', '/v1.0/healthz')).status, 204);
  t.is((await ask(session, 'PUT', '/v1.0/metadata/k', 'v')).status, 204);
  const unknown = await ask(session, 'POST', '/v1.0/publish/nowhere/a', '1');
  t.is(unknown.status, 404);
  t.regex(unknown.body, /ERR_PUBSUB_NOT_FOUND/);
  t.is((await publish(daprd, 'a', 'over HTTP/1.1')).status, 204);
});

test('over HTTP/2 a body past the limit is refused, and the connection goes on', async (t) => {
  const daprd = await startDaprd(t, { args: ['--max-body-size', '1Ki'] });
  const session = sessionWith(t, daprd);
  const large = await ask(session, 'POST', '/v1.0/publish/pubsub/a', 'x'.repeat(300_000));
  t.is(large.status, 500);
  t.regex(large.body, /stream too large/);
  t.is((await ask(session, 'POST', '/v1.0/publish/pubsub/a', 'x')).status, 204);
});

test('an idle connection of HTTP/2 does not delay the exit, and a request in hand is answered', async (t) => {
  const app = await startHttpApp({});
  t.teardown(() => app.close());
  const daprd = await startDaprd(t);
  const session = sessionWith(t, daprd);
  t.is((await ask(session, 'GET', '/v1.0/healthz')).status, 204);
  const slow = session.request({ ':method': 'POST', ':path': '/v1.0/publish/pubsub/a' });
  const status = new Promise((resolve) => slow.on('response', (headers) => resolve(headers[':status'])));
  slow.resume().write('half');
  await ask(session, 'GET', '/v1.0/healthz');
  const exited = daprd.stop();
  await until(() => daprd.log().includes('beginning shutdown'), 'it stops');
  slow.end(' and the rest');
  t.is(await status, 204);
  t.is(await exited, 0);
});

test('a connection of HTTP/2 whose client says no more, not even goodbye, does not delay the exit', async (t) => {
  const daprd = await startDaprd(t);
  const upgrade = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n';
  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
  for (const begin of [
    `GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`,
    preface.slice(0, 16),
    preface,
    Buffer.concat([Buffer.from(preface), SETTINGS]),
  ]) {
    const socket = connectTcp({ port: daprd.httpPort, host: '127.0.0.1', allowHalfOpen: true });
    t.teardown(() => socket.on('error', () => undefined).destroy());
    socket.write(begin);
    await new Promise((resolve) => socket.once('data', resolve));
  }
  t.is(await daprd.stop(), 0);
});

const SETTINGS = Buffer.from('000000040000000000', 'hex');

/** The frames of HTTP/2 in some bytes: type and stream. */
function framesOf(bytes: Buffer): [type: number, stream: number][] {
  const frames: [number, number][] = [];
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    frames.push([bytes.readUInt8(at + 3), bytes.readUInt32BE(at + 5)]);
  }
  return frames;
}

test('an upgrade from HTTP/1.1 is answered by 101, and the request on the first stream', async (t) => {
  const daprd = await startDaprd(t);
  const socket = connectTcp(daprd.httpPort, '127.0.0.1');
  t.teardown(() => socket.destroy());
  let received = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => (received = Buffer.concat([received, chunk])));
  const upgrade = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n';
  const long = `x-long: ${'x'.repeat(300)}\r\n`;
  socket.write(`GET /v1.0/healthz HTTP/1.1\r\nHost: localhost\r\n${upgrade}${long}\r\n`);
  await until(() => received.includes('\r\n\r\n'), 'it is answered');
  t.regex(received.toString('latin1'), /^HTTP\/1.1 101 Switching Protocols\r\n/);
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), SETTINGS]));
  const HEADERS = 1;
  const frames = await until(() => {
    const all = framesOf(received.subarray(received.indexOf('\r\n\r\n') + 4));
    return all.some(([type, stream]) => type === HEADERS && stream === 1) && all;
  }, 'the first stream is answered');
  t.false(
    frames.some(([type]) => type === 7),
    'no GOAWAY',
  );
});

test('who cannot or may not upgrade is served over HTTP/1.1', async (t) => {
  const off = await startDaprd(t, { env: { DAPR_HTTP_DISABLE_H2C: 'true' } });
  const on = await startDaprd(t);
  const answer = (daprd: Daprd, request: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTcp(daprd.httpPort, '127.0.0.1').on('error', () => resolve('cut'));
      t.teardown(() => socket.destroy());
      socket.once('data', (chunk: Buffer) => resolve(chunk.toString('latin1').split('\r\n')[0] as string));
      socket.once('close', () => resolve('closed'));
      socket.write(request);
    });
  const upgrade = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n';
  const get = `GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\n${upgrade}\r\n`;
  t.is(await answer(off, get), 'HTTP/1.1 204 No Content');
  t.is(await answer(on, get), 'HTTP/1.1 101 Switching Protocols');
  t.is(await answer(on, get.replace('h2c', 'websocket')), 'HTTP/1.1 204 No Content');
  const post = `POST /v1.0/publish/pubsub/t HTTP/1.1\r\nHost: x\r\n${upgrade}Content-Length: 1\r\n\r\n1`;
  t.is(await answer(on, post), 'HTTP/1.1 204 No Content');
  t.regex(await answer(off, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /400 Bad Request|closed/);
  t.regex(await answer(on, 'PRI * HTTP/1.0\r\n\r\n'), /./, 'it is answered or ended');
  t.is((await fetch(`${on.http}/v1.0/healthz`)).status, 204);
});
