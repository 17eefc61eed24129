import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { AppRequest } from '../../../src/channels/app-client.ts';
import { HttpClient } from '../../../src/channels/http-client.ts';
import { freePort } from '../../_support/ports.ts';
import { until } from '../../_support/until.ts';

interface Site {
  readonly client: HttpClient;
  /** What came on each connection. */
  readonly came: string[];
  readonly sockets: Socket[];
}

/** A server that does to each piece of a request what the test says. */
async function site(
  t: ExecutionContext,
  onPiece: (socket: Socket, count: number) => void,
  maxBodyBytes = 0,
): Promise<Site> {
  const came: string[] = [];
  const sockets: Socket[] = [];
  let count = 0;
  const server: Server = createServer({ noDelay: true }, (socket) => {
    const at = sockets.push(socket) - 1;
    came.push('');
    socket.on('error', () => undefined);
    socket.on('data', (piece) => {
      came[at] += piece.toString('latin1');
      onPiece(socket, ++count);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = new HttpClient({ address: '127.0.0.1', port: (server.address() as AddressInfo).port, maxBodyBytes });
  t.teardown(async () => {
    await client.close();
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  return { client, came, sockets };
}

const POST: AppRequest = { method: 'POST', path: '/a', headers: ['x', 'y'], body: Buffer.from('hello') };
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const NEVER = new AbortController().signal;

test('a request is one write; its connection serves the next', async (t) => {
  const { client, came } = await site(t, (socket) => socket.write(OK));
  for (let i = 0; i < 3; i++) {
    const { status, headers, body } = await client.request(POST, NEVER);
    t.deepEqual([status, headers, body.toString()], [200, ['content-length', '2'], 'ok']);
  }
  t.is(came.length, 1);
  const request =
    /^POST \/a HTTP\/1\.1\r\nhost: 127\.0\.0\.1:\d+\r\nconnection: keep-alive\r\nx: y\r\ncontent-length: 5\r\n\r\nhello/;
  t.regex(came[0] as string, request);
});

test('requests at the same time have connections of their own', async (t) => {
  const { client, came } = await site(t, (socket) => socket.write(OK));
  await Promise.all([1, 2, 3].map(() => client.request(POST, NEVER)));
  t.is(came.length, 3);
});

test('a body goes on over many pieces, and one to the end ends with the connection', async (t) => {
  const body = 'x'.repeat(1_000_000);
  const { client, came } = await site(t, (socket) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${body}`));
  for (let i = 0; i < 2; i++) t.is((await client.request(POST, NEVER)).body.toString(), body);
  t.is(came.length, 2);
});

test('a request on a connection of its own says so, and one without a body', async (t) => {
  const { client, came } = await site(t, (socket) => socket.write(OK));
  await client.request({ method: 'GET', path: '/', headers: [], reset: true }, NEVER);
  await client.request({ method: 'POST', path: '/', headers: [] }, NEVER);
  t.regex(came[0] as string, /\r\nconnection: close\r\n\r\n$/);
  t.regex(came[1] as string, /\r\ncontent-length: 0\r\n\r\n$/);
});

const ENDS: Readonly<Record<string, (socket: Socket) => void>> = {
  'its server hangs up': (socket) => socket.end(),
  'its server resets': (socket) => socket.resetAndDestroy(),
  'its answer breaks off': (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na'),
  'its answer is no HTTP': (socket) => socket.write('hello\r\n\r\n'),
  'its answer is too large': (socket) => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n'),
};
for (const [name, end] of Object.entries(ENDS)) {
  test(`a request fails when ${name}, and the next has a new connection`, async (t) => {
    const { client, came } = await site(t, (socket, count) => (count === 1 ? end(socket) : socket.write(OK)), 100);
    await t.throwsAsync(client.request({ ...POST, repeatable: true }, NEVER));
    t.is((await client.request(POST, NEVER)).status, 200);
    t.is(came.length, 2);
  });
}

test('bytes that nobody asked for end the connection', async (t) => {
  const { client, came, sockets } = await site(t, (socket) => socket.write(`${OK}more`));
  await client.request(POST, NEVER);
  await until(() => sockets[0]?.destroyed === true, 'it is closed');
  await client.request(POST, NEVER);
  t.is(came.length, 2);
});

test('giving up a request ends its connection', async (t) => {
  const { client, sockets } = await site(t, () => undefined);
  const giveUp = new AbortController();
  const request = client.request(POST, giveUp.signal);
  await until(() => sockets.length === 1, 'it is there');
  giveUp.abort(new Error('enough'));
  await t.throwsAsync(request, { message: 'enough' });
  await until(() => sockets[0]?.destroyed === true, 'it is closed');
  await t.throwsAsync(client.request(POST, giveUp.signal), { message: 'enough' });
});

test('a server that closes resting connections loses nothing that may be sent again', async (t) => {
  const { client, came } = await site(t, (socket, count) => (count === 2 ? socket.end() : socket.write(OK)));
  await client.request(POST, NEVER);
  const rested = performance.now();
  await until(() => performance.now() - rested > 1000, 'it rested');
  const again = await client.request({ ...POST, repeatable: true }, NEVER);
  t.is(again.status, 200);
  t.deepEqual(
    came.map((text) => text.split('POST').length - 1),
    [2, 1],
  );
});

test('a connection rests less than its server would keep it', async (t) => {
  const hint = OK.replace('\r\n\r\n', '\r\nkeep-alive: timeout=1\r\n\r\n');
  const { client, came } = await site(t, (socket) => socket.write(hint));
  for (let i = 0; i < 2; i++) await client.request(POST, NEVER);
  t.is(came.length, 2);
});

test('nobody there is said as the system says it; a header cannot bring another; closing fails what waits', async (t) => {
  const port = await freePort();
  const nobody = new HttpClient({ address: '127.0.0.1', port, maxBodyBytes: 0 });
  await t.throwsAsync(nobody.request(POST, NEVER), { message: `connect ECONNREFUSED 127.0.0.1:${port}` });
  const { client, came, sockets } = await site(t, () => undefined);
  const two = { ...POST, headers: ['a', 'b\r\nc: d'] };
  await t.throwsAsync(client.request(two, NEVER), { message: 'the header "a" cannot be sent' });
  t.deepEqual(
    came.filter((text) => text !== ''),
    [],
  );
  const waits = client.request(POST, NEVER);
  await until(() => sockets.length > 0, 'it is there');
  await client.close();
  await t.throwsAsync(waits, { message: 'the channel to the app is closed' });
  await t.throwsAsync(client.request(POST, NEVER), { message: 'the channel to the app is closed' });
});
