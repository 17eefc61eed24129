import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer as createTcpServer, connect as connectTcp, type AddressInfo, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { ConnectionLimit } from '../../../src/lib/connection-limit.ts';
import { Connections, type ConnectionsOptions, type KeepAlive } from '../../../src/rpc/connections.ts';
import { Load } from '../../../src/rpc/load.ts';
import { until } from '../../_support/until.ts';

const LOAD_BYTES = 1 << 20;
const NEVER_MS = 600_000;
const QUICK: KeepAlive = { intervalMs: 100, timeoutMs: NEVER_MS, idlePings: 3 };

async function serve(t: ExecutionContext, keepAlive: KeepAlive, more: Partial<ConnectionsOptions> = {}) {
  const calls: ServerHttp2Stream[] = [];
  const connections = new Connections((stream) => void calls.push(stream.resume()), {
    maxHeaderBytes: 8192,
    load: new Load(LOAD_BYTES),
    keepAlive,
    limit: new ConnectionLimit(100, () => undefined),
    ...more,
  });
  const port = await connections.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => {
    connections.destroy();
    return connections.close();
  });
  return { connections, port, calls };
}

function session(t: ExecutionContext, port: number): ClientHttp2Session {
  const client = connect(`http://127.0.0.1:${port}`);
  client.on('error', () => undefined);
  t.teardown(() => client.destroy());
  return client;
}

const ask = (client: ClientHttp2Session): ClientHttp2Stream =>
  client
    .request({ ':method': 'POST' })
    .on('error', () => undefined)
    .resume();

test('a connection on which nothing is called is closed, one with a call is not', async (t) => {
  const { port, calls } = await serve(t, QUICK);
  const busy = session(t, port);
  const call = ask(busy);
  await until(() => calls.length === 1, 'the call arrives');
  const idle = session(t, port);
  await until(() => idle.destroyed, 'the idle one is closed');
  t.false(busy.closed);
  calls[0]?.respond({ ':status': 200 }, { endStream: true });
  call.end();
  await until(() => busy.destroyed, 'so is the other when its call has ended');
});

test('where there are too many connections, the oldest without a call ends', async (t) => {
  const { port, calls } = await serve(
    t,
    { ...QUICK, intervalMs: NEVER_MS },
    { limit: new ConnectionLimit(3, () => undefined) },
  );
  const opened = async (): Promise<ClientHttp2Session> => {
    const one = session(t, port);
    await until(() => one.remoteSettings.maxConcurrentStreams !== undefined && !one.connecting, 'it is open');
    return one;
  };
  const busy = await opened();
  ask(busy);
  await until(() => calls.length === 1, 'the call arrives');
  const [older, newer, newest] = [await opened(), await opened(), await opened()];
  await until(() => older.destroyed, 'the oldest idle one ends');
  t.deepEqual(
    [busy, newer, newest].map(({ destroyed }) => destroyed),
    [false, false, false],
  );
});

test('a client that goes on giving up its calls at once loses its connection', async (t) => {
  const { port, calls } = await serve(t, { ...QUICK, intervalMs: NEVER_MS }, { resets: { burst: 50, perSecond: 1 } });
  const client = session(t, port);
  const goaways: number[] = [];
  client.on('goaway', (code) => goaways.push(code));
  await until(() => {
    if (!client.destroyed) ask(client).close(constants.NGHTTP2_CANCEL);
    return client.destroyed;
  }, 'its connection ends');
  t.deepEqual(goaways, [constants.NGHTTP2_ENHANCE_YOUR_CALM]);
  t.true(calls.length > 50);
  ask(session(t, port));
  await until(() => calls.at(-1)?.session?.destroyed === false, 'another is served');
});

test('a client that answers no ping is given up with its calls', async (t) => {
  const { port, calls } = await serve(t, { intervalMs: 100, timeoutMs: 2000, idlePings: NEVER_MS });
  const pipes: Socket[] = [];
  const relay = createTcpServer((socket) => {
    const onward = connectTcp(port, '127.0.0.1');
    for (const one of [socket, onward]) pipes.push(one.on('error', () => undefined));
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void relay.close());
  const client = session(t, (relay.address() as AddressInfo).port);
  ask(client);
  const [call] = await until(() => calls.length === 1 && calls, 'the call arrives');
  t.false(call?.destroyed);
  for (const pipe of pipes) pipe.unpipe().pause();
  await until(() => call?.destroyed, 'the call is given up');
  t.false(client.destroyed);
});

test('a close lets calls end, takes no more, and waits for them', async (t) => {
  const { connections, port, calls } = await serve(t, QUICK);
  const client = session(t, port);
  const call = ask(client);
  let status: unknown;
  call.on('response', (headers) => (status = headers[':status'])).end();
  await until(() => calls.length === 1, 'the call arrives');
  let closed = false;
  const closing = connections.close().then(() => (closed = true));
  await until(() => client.closed, 'the client hears of it');
  ask(client);
  const late = session(t, port);
  await until(() => late.destroyed, 'nobody listens any more');
  t.false(closed);
  calls[0]?.respond({ ':status': 200 }, { endStream: true });
  await closing;
  await until(() => status === 200, 'the answer arrives');
  t.is(calls.length, 1);
});
