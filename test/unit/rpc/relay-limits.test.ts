/** What a call may cost that is passed on, where one side does not read. */

import { constants, createServer, type ClientHttp2Stream, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { RelayClient } from '../../../src/channels/relay-client.ts';
import { until } from '../../_support/until.ts';
import { BUDGET_BYTES, clientOf, message, MESSAGE_BYTES, serve, statusOf } from './_small-server.ts';

/** An app that is called at the bytes, and leaves all of them unread until it is told. */
async function startApp(t: ExecutionContext, onCall: (stream: ServerHttp2Stream) => void): Promise<RelayClient> {
  const server = createServer().on('stream', (stream) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    onCall(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const app = new RelayClient(`http://127.0.0.1:${port}`, 60_000);
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
