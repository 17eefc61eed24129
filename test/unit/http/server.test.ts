import { once } from 'node:events';
import type { RequestListener, ServerResponse } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { keepUntilRead, withBody } from '../../../src/http/body.ts';
import { startHttpServer } from '../../../src/http/server.ts';
import { ConnectionLimit } from '../../../src/lib/connection-limit.ts';
import { MemoryBudget } from '../../../src/lib/memory-budget.ts';
import { until } from '../../_support/until.ts';

test('a stop waits for every request in hand, also for several on one connection', async (t) => {
  const inHand: ServerResponse[] = [];
  const server = await startHttpServer((_request, response) => void inHand.push(response), {
    addresses: ['127.0.0.1'],
    port: { port: 0, search: false },
    socket: '',
    maxHeaderBytes: 8192,
    limit: new ConnectionLimit(100, () => undefined),
  });
  const client = connect(server.port, '127.0.0.1');
  let received = '';
  client.on('data', (chunk: Buffer) => (received += chunk.toString()));
  const ended = once(client, 'close');
  client.write('GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n');
  await until(() => inHand.length === 2, 'both are in hand');
  const closed = server.close(new AbortController().signal);
  inHand[0]?.end('first');
  await until(() => received.includes('first'), 'the first is answered');
  inHand[1]?.end('second');
  await Promise.all([closed, ended]);
  t.true(received.includes('second'));
});

async function serve(
  t: ExecutionContext,
  handler: RequestListener,
  onFull: (max: number) => void = () => undefined,
): Promise<number> {
  const server = await startHttpServer(handler, {
    addresses: ['127.0.0.1'],
    port: { port: 0, search: false },
    socket: '',
    maxHeaderBytes: 8192,
    h2c: true,
    limit: new ConnectionLimit(3, onFull),
    maxAhead: 50,
  });
  t.teardown(() => server.close(AbortSignal.abort()));
  return server.port;
}

function open(t: ExecutionContext, port: number) {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  t.teardown(() => socket.destroy());
  const client = { socket, text: '', isOver: false };
  socket.on('data', (chunk: Buffer) => (client.text += chunk.toString('latin1')));
  socket.on('close', () => (client.isOver = true));
  return client;
}

const get = (socket: Socket, path: string): boolean => socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);

test('where there are too many connections, the oldest that has nothing in hand ends', async (t) => {
  const inHand: ServerResponse[] = [];
  const port = await serve(
    t,
    ({ url }, response) => void (url === '/wait' ? inHand.push(response) : response.end('ok')),
  );
  const busy = open(t, port);
  get(busy.socket, '/wait');
  await until(() => inHand.length === 1, 'one is busy');
  const idle = [open(t, port), open(t, port)];
  for (const { socket } of idle) get(socket, '/');
  await until(() => idle.every(({ text }) => text.endsWith('ok')), 'two are idle');
  const late = open(t, port);
  get(late.socket, '/');
  await until(() => late.text.endsWith('ok'), 'one more is served');
  await until(() => idle[0]?.isOver === true, 'the oldest idle one ends');
  t.deepEqual([idle[1]?.isOver, busy.isOver], [false, false]);
  const sessions = [1, 2, 3, 4].map(() => connectHttp2(`http://127.0.0.1:${port}`).on('error', () => undefined));
  t.teardown(() => sessions.forEach((session) => session.destroy()));
  await until(() => sessions.some(({ destroyed }) => destroyed), 'one over HTTP/2 ends');
});

test('where every connection has something in hand, further ones are refused until one ends, which is told once', async (t) => {
  const inHand: ServerResponse[] = [];
  const told: number[] = [];
  const port = await serve(
    t,
    ({ url }, response) => void (url === '/wait' ? inHand.push(response) : response.end('ok')),
    (max) => told.push(max),
  );
  const busy = [open(t, port), open(t, port), open(t, port)];
  for (const { socket } of busy) get(socket, '/wait');
  await until(() => inHand.length === 3, 'all are busy');
  for (const late of [open(t, port), open(t, port)]) await until(() => late.isOver, 'one more is refused');
  t.deepEqual(told, [3]);
  t.true(busy.every(({ isOver }) => !isOver));
  busy[0]?.socket.destroy();
  await until(async () => {
    const next = open(t, port);
    get(next.socket, '/');
    await until(() => next.text.endsWith('ok') || next.isOver, 'it is served or refused');
    return next.text.endsWith('ok');
  }, 'there is room again');
});

test('a client may send requests ahead of their answers, but not any number', async (t) => {
  const inHand: ServerResponse[] = [];
  const port = await serve(t, (_request, response) => void inHand.push(response));
  const eager = open(t, port);
  for (let i = 0; i < 50; i++) get(eager.socket, '/');
  await until(() => inHand.length === 50, 'all are in hand');
  t.false(eager.isOver);
  get(eager.socket, '/');
  await until(() => eager.isOver, 'one more is too many');
  t.is(inHand.length, 50);
});

const fail = (error: unknown): never => {
  throw error;
};

test('a body that does not come to its end is given up when others need the memory', async (t) => {
  const budget = new MemoryBudget(100_000);
  const port = await serve(t, (request, response) => {
    withBody(request, { maxBodyBytes: 0, budget }, fail, ({ length }) => length).then(
      (length) => response.end(String(length)),
      ({ message }: Error) => response.writeHead(429).end(message),
    );
  });
  const post = (socket: Socket): boolean => socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 90000\r\n\r\n');
  const slow = open(t, port);
  post(slow.socket);
  slow.socket.write(Buffer.alloc(80_000));
  const whole = open(t, port);
  post(whole.socket);
  whole.socket.write(Buffer.alloc(90_000));
  await until(() => whole.text.endsWith('90000'), 'the other is served');
  await until(() => slow.text.startsWith('HTTP/1.1 429'), 'the slow one is given up');
  post(whole.socket);
  whole.socket.write(Buffer.alloc(90_000));
  await until(() => whole.text.split('90000').length === 3, 'and again');
  await until(() => budget['kept'] === 0, 'nothing is counted any more');
  t.pass();
});

test('answers that nobody reads are dropped when others need the memory', async (t) => {
  const MiB = 1 << 20;
  const budget = new MemoryBudget(60 * MiB);
  let asked = 0;
  const port = await serve(t, ({ url }, response) => {
    const body = Buffer.alloc(url === '/long' ? 25 * MiB : 5 * MiB);
    keepUntilRead(response, body.length, budget);
    response.end(body);
    asked++;
  });
  const greedy = [open(t, port), open(t, port)];
  for (const [at, { socket }] of greedy.entries()) {
    get(socket.pause(), '/long');
    await until(() => asked === at + 1, 'it is asked');
  }
  const reader = open(t, port);
  get(reader.socket, '/long');
  await until(() => reader.text.length > 25 * MiB, 'who reads is served');
  get(reader.socket, '/');
  await until(() => reader.text.length > 30 * MiB, 'and again');
  greedy[0]?.socket.resume();
  await until(() => greedy[0]?.isOver === true, 'the first that did not read has lost its connection');
  t.true((greedy[0]?.text.length ?? 0) < 25 * MiB);
  greedy[1]?.socket.resume();
  await until(() => (greedy[1]?.text.length ?? 0) > 25 * MiB, 'the second has room');
  await until(() => budget['kept'] === 0, 'nothing is counted any more');
});

test('what a client of HTTP/2 breaks off is no body', async (t) => {
  const budget = new MemoryBudget(100_000);
  const ends: unknown[] = [];
  let received = 0;
  const port = await serve(t, (request) => {
    request.on('data', ({ length }: Buffer) => (received += length));
    withBody(request, { maxBodyBytes: 0, budget }, fail, (body) => ends.push(body)).then(
      () => undefined,
      (error: unknown) => ends.push(error),
    );
  });
  const session = connectHttp2(`http://127.0.0.1:${port}`).on('error', () => undefined);
  t.teardown(() => session.destroy());
  const stream = session.request({ ':method': 'POST' }).on('error', () => undefined);
  stream.write('half');
  await until(() => received > 0, 'half of it arrives');
  session.destroy();
  await until(() => ends.length > 0, 'it is over');
  t.true(ends[0] instanceof Error);
  t.is(budget['kept'], 0);
});
