import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import test, { type ExecutionContext } from 'ava';
import { pluggableBroker } from '../../src/brokers/pluggable/broker.ts';
import { contextWith } from '../_support/broker-site.ts';
import { componentFile, publish } from '../_support/daprd.ts';
import { startSilentServer } from '../_support/silent-server.ts';
import { until } from '../_support/until.ts';
import { dapr, temporaryHome } from '../cli/command.ts';
import { app, COMPONENT, components, site, sub } from './_site.ts';

test('a component that is added while the sidecar runs is opened, also when its socket comes later', async (t) => {
  const { socket, plugin: start, daprd: launch, directory } = await site(t);
  const receiver = await app(t, { subscribe: [sub('late')] });
  const daprd = await launch({
    appPort: receiver.port,
    resources: { 'other.yaml': componentFile('pubsub.in-memory').replace('name: pubsub\n', 'name: other\n') },
    args: ['--hot-reload-reconcile-interval', '1s'],
  });
  const file = join(directory, 'resources-app', 'pubsub.yaml');
  await writeFile(file, COMPONENT);
  await until(() => daprd.log().includes(`couldn't find message bus pubsub.my-broker/v1`), 'it is not there yet');
  const plugin = await start();
  await writeFile(file, COMPONENT.replace('green', 'red'));
  await until(() => plugin.of('pull').length === 1, 'it is opened and subscribed to');
  await publish(daprd, 'late', '1');
  await until(() => plugin.of('ack').length === 1, 'events arrive');
  t.is(receiver.received.length, 1);
  await rm(file);
  await until(async () => (await components(daprd)).every(({ name }) => name !== 'pubsub'), 'it is closed');
  await until(() => plugin.of('end').length === 1, `its stream at ${socket} ends`);
});

test('the command publishes on a component without a sidecar', async (t) => {
  const { plugin: start, sockets } = await site(t);
  const plugin = await start();
  const home = temporaryHome(t);
  const components = join(home, '.dapr', 'components');
  await mkdir(components, { recursive: true });
  await writeFile(join(components, 'pubsub.yaml'), COMPONENT);
  const words = ['publish', '--pubsub', 'pubsub', '--topic', 'orders', '--data', '{"n":1}'];
  const { code, stdout, stderr } = await dapr(t, words, { home, env: { DAPR_COMPONENTS_SOCKETS_FOLDER: sockets } });
  t.is(code, 0, stderr);
  t.regex(stdout, /through pubsub\.my-broker, without a sidecar/);
  t.is(plugin.of('publish').length, 1);
});

for (const [name, type, settings, message] of [
  ['there is no such socket', 'pubsub.nobody', {}, /couldn't find message bus pubsub\.nobody\/v1: .*no socket/],
  ['the component refuses its settings', 'pubsub.my-broker', { fail: 'no colour' }, /InvalidArgument desc = no colour/],
  ['the socket serves something else', 'pubsub.other', {}, /does not serve dapr\.proto\.components\.v1\.PubSub, but/],
  ['nobody listens on the socket', 'pubsub.dead', {}, /INIT_COMPONENT_FAILURE.*(Unavailable|init timeout)/],
  ['a setting is wrong', 'pubsub.my-broker', { concurrency: 'many' }, /concurrency wants a whole number/],
] as const) {
  test(`a start ends with a sentence when ${name}`, async (t) => {
    const { plugin: start, daprd: launch, sockets } = await site(t);
    await start();
    await serveHealth(t, join(sockets, 'other.sock'));
    await leaveSocket(join(sockets, 'dead.sock'));
    const error = await t.throwsAsync(launch({ resources: { 'pubsub.yaml': componentFile(type, settings, '5s') } }));
    t.regex(error?.message ?? '', message);
  });
}

test('opening is given up when told so, be the component absent or hanging', async (t) => {
  const { sockets } = await site(t);
  await leaveSocket(join(sockets, 'absent.sock'));
  const hanging = await startSilentServer(t, { path: join(sockets, 'hanging.sock') });
  for (const name of ['absent', 'hanging']) {
    const giveUp = new AbortController();
    const factory = await pluggableBroker(`pubsub.${name}`, sockets);
    const opening = factory?.open({}, contextWith([], 'team', giveUp.signal));
    if (name === 'hanging') await until(() => hanging.met > 0, 'it has tried');
    const began = performance.now();
    giveUp.abort();
    await t.throwsAsync(opening ?? Promise.resolve());
    t.true(performance.now() - began < 3000, `${name} took ${performance.now() - began} ms`);
  }
});

test('a start ends with a sentence when the component hangs', async (t) => {
  const { daprd: launch, sockets } = await site(t);
  await startSilentServer(t, { path: join(sockets, 'hanging.sock') });
  const began = performance.now();
  await t.throwsAsync(launch({ resources: { 'pubsub.yaml': componentFile('pubsub.hanging', {}, '1s') } }), {
    message: /init timeout for component pubsub/,
  });
  t.log(`${Math.round(performance.now() - began)} ms`);
});

/** A gRPC server that is no broker. */
async function serveHealth(t: ExecutionContext, path: string): Promise<void> {
  const server = new Server();
  const includeDirs = [join(import.meta.dirname, '../../proto')];
  new ReflectionService(loadSync('grpc/health/v1/health.proto', { includeDirs })).addToServer(server);
  t.teardown(() => server.forceShutdown());
  await new Promise((resolve) => server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), resolve));
}

/** A socket whose process was killed. */
async function leaveSocket(path: string): Promise<void> {
  const listen = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await promisify(execFile)(process.execPath, ['-e', listen]).catch(() => undefined);
}
