/** What listens, where, and for how long it listens to whom: sockets, the public port, limits of connections. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { HealthClient } from '../../gen/grpc/health/v1/health.ts';
import { MEMORY, startDaprd, temporaryDirectory } from '../_support/daprd.ts';
import { endProcess } from '../_support/end-process.ts';
import { freePorts } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { call, startSidecar } from '../parity/_sidecar.ts';

const DAPRD = join(import.meta.dirname, '..', '..', 'bin', 'daprd');

function clientOf<T extends Client>(
  t: ExecutionContext,
  make: new (address: string, how: ReturnType<typeof credentials.createInsecure>) => T,
  address: string,
): T {
  const client = new make(address, credentials.createInsecure());
  t.teardown(() => client.close());
  return client;
}

test('in a directory of sockets the gRPC API has one too, and no port', async (t) => {
  const directory = await temporaryDirectory(t);
  const daprd = await startDaprd(t, { args: ['--unix-domain-socket', directory] });
  const client = clientOf(t, DaprClient, `unix:${join(directory, 'dapr-app-grpc.socket')}`);
  t.is((await call<{ id: string }>(client, 'getMetadata', {})).id, 'app');
  t.is(daprd.grpcPort, 0);
  t.is(daprd.httpPort, 0);
});

test('with a token reflection is asked for it, health is not', async (t) => {
  const daprd = await startDaprd(t, { env: { DAPR_API_TOKEN: 'secret' } });
  const address = `127.0.0.1:${daprd.grpcPort}`;
  t.is((await call<{ status: number }>(clientOf(t, HealthClient, address), 'check', { service: '' })).status, 1);
  const reflect = (token?: string): Promise<number> => {
    const asIs = (bytes: Buffer): Buffer => bytes;
    const metadata = new Metadata();
    if (token !== undefined) metadata.set('dapr-api-token', token);
    const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
    const stream = clientOf(t, Client, address).makeBidiStreamRequest(path, asIs, asIs, metadata, {});
    stream.write(Buffer.from([0x3a, 0x00]));
    return new Promise((resolve) => {
      stream.once('data', () => resolve(0));
      stream.once('error', ({ code }: ServiceError) => resolve(code));
    });
  };
  t.is(await reflect(), 16);
  t.is(await reflect('wrong'), 16);
  t.is(await reflect('secret'), 0);
});

test('a call over gRPC may have 60 KiB of headers', async (t) => {
  const daprd = await startDaprd(t, { args: ['--read-buffer-size', '1Ki'] });
  const client = clientOf(t, DaprClient, `127.0.0.1:${daprd.grpcPort}`);
  t.is((await call<{ id: string }>(client, 'getMetadata', {}, { 'x-long': 'x'.repeat(60 * 1024) })).id, 'app');
});

test('a call that another sidecar might make is UNIMPLEMENTED', async (t) => {
  const sidecar = await startSidecar(t);
  const client = clientOf(t, DaprClient, `127.0.0.1:${sidecar.ports.internal}`);
  const error = (await t.throwsAsync(call(client, 'getMetadata', {}))) as ServiceError;
  t.is(error.code, 12);
});

test('the public port has health and metadata, wants no token, and nothing else', async (t) => {
  const sidecar = await startSidecar(t, { env: { DAPR_API_TOKEN: 'secret' }, args: [] });
  const ask = async (method: string, path: string): Promise<number> =>
    (await fetch(`http://127.0.0.1:${sidecar.ports.public}${path}`, { method })).status;
  t.is(await ask('GET', '/v1.0/healthz'), 204);
  t.is(await ask('GET', '/v1.0/healthz/outbound'), 204);
  t.is(await ask('GET', '/v1.0/metadata'), 200);
  t.is(await ask('GET', '/v1.0/parked'), 404);
  t.is(await ask('PUT', '/v1.0/metadata/k'), 404);
  t.is(await ask('POST', '/v1.0/publish/pubsub/a'), 404);
  t.is(await ask('POST', '/v1.0/shutdown'), 404);
});

test('connections have half of the descriptors that the process may have; when they are gone it goes on and says so', async (t) => {
  const home = await temporaryDirectory(t);
  const [http, grpc] = await freePorts(2);
  writeFileSync(join(home, 'pubsub.yaml'), MEMORY);
  const ports = ['--dapr-http-port', `${http}`, '--dapr-grpc-port', `${grpc}`];
  const flags = ['--app-id', 'app', '--resources-path', home, ...ports];
  const script = 'ulimit -n 120; exec "$@"';
  const words = [DAPRD, ...flags, '--enable-metrics=false'];
  const child = spawn('sh', ['-c', script, 'sh', ...words], { env: { ...process.env, HOME: home } });
  t.teardown(() => endProcess(child));
  let log = '';
  child.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()));
  const publish = (): Promise<number> =>
    fetch(`http://127.0.0.1:${http}/v1.0/publish/pubsub/a`, {
      method: 'POST',
      body: '1',
      headers: { connection: 'close' },
    })
      .then(({ status }) => status)
      .catch(() => 0);
  await until(async () => (await publish()) === 204, 'it publishes', 60_000);
  const half = 'POST /v1.0/publish/pubsub/a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1';
  const sockets: Socket[] = [];
  t.teardown(() => sockets.forEach((socket) => socket.destroy()));
  await until(() => {
    const socket = connect(http as number, '127.0.0.1').on('error', () => undefined);
    socket.write(half);
    sockets.push(socket);
    return log.includes('60 connections are open');
  }, 'one more is refused');
  t.is(await publish(), 0);
  for (const socket of sockets) socket.destroy();
  await until(async () => (await publish()) === 204, 'there is room again');
  t.is(log.match(/60 connections are open.*ulimit -n/g)?.length, 1);
});

test('who does not get their headers out in ten seconds or so is cut off', async (t) => {
  const daprd = await startDaprd(t);
  const socket = connect(daprd.httpPort, '127.0.0.1');
  t.teardown(() => socket.destroy());
  socket.on('error', () => undefined);
  socket.resume().write('GET /v1.0/healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ');
  const started = performance.now();
  await until(() => socket.destroyed || socket.readableEnded, 'the connection ends', 40_000);
  t.true(performance.now() - started > 9000);
});

async function session(t: ExecutionContext, port: number): Promise<ClientHttp2Session> {
  const opened = connectHttp2(`http://127.0.0.1:${port}`);
  t.teardown(() => opened.destroy());
  opened.on('error', () => undefined);
  await once(opened, 'connect');
  return opened;
}

test('pings of a client over gRPC are never too many; who answers none is given up', async (t) => {
  const daprd = await startDaprd(t);
  const eager = await session(t, daprd.grpcPort);
  let pings = 0;
  const ping = (): void => void eager.ping((error) => error === null && ++pings < 200 && ping());
  ping();
  await until(() => pings === 200, 'all pings are answered');
  t.false(eager.closed);

  const silent = connect(daprd.grpcPort, '127.0.0.1');
  t.teardown(() => silent.destroy());
  silent.on('error', () => undefined).resume();
  const EMPTY_SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  silent.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), EMPTY_SETTINGS]));
  await until(() => silent.destroyed || silent.readableEnded, 'the silent one is given up', 40_000);
  t.false(eager.closed);
});
