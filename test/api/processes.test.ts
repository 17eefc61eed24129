/** The sidecar as a process: what it is told, where it writes, what it survives. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { componentFile, publish, startDaprd, temporaryDirectory } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const ENTRY = new URL('../../src/daprd.ts', import.meta.url).pathname;

test('waiting for a sidecar ends well when it is there', async (t) => {
  const { httpPort } = await startDaprd(t);
  const waiting = spawn(process.execPath, [ENTRY, '--wait', '--dapr-http-port', String(httpPort)], { stdio: 'ignore' });
  t.teardown(() => waiting.kill('SIGKILL'));
  t.deepEqual(await once(waiting, 'exit'), [0, null]);
});

test('the log goes to a file where one is named', async (t) => {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'daprd.log');
  const daprd = await startDaprd(t, { directory, args: ['--log-file', file, '--log-as-json'] });
  const messages = async (): Promise<string[]> => {
    const lines = (await readFile(file, 'utf8')).split('\n').slice(0, -1);
    return lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  };
  const isReady = (message: string): boolean => message.startsWith('dapr initialized. Status: Running');
  await until(async () => (await messages()).some(isReady), 'the file says so');
  t.is(daprd.log(), '');
});

test('an error that nobody expected is logged with its place, and the sidecar goes on', async (t) => {
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'a', route: '/a' }] });
  t.teardown(() => app.close());
  const plant = 'process.on("SIGUSR2", () => { Promise.reject(new Error("planted")); throw new Error("thrown"); })';
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(plant)}` };
  const daprd = await startDaprd(t, { appPort: app.port, env });
  process.kill(daprd.pid, 'SIGUSR2');
  for (const what of ['thrown', 'planted']) {
    await until(() => daprd.log().includes(`unexpected error, going on: Error: ${what}`), `${what} is logged`);
  }
  t.is((await publish(daprd, 'a', '1')).status, 204);
  await until(() => app.received.length === 1, 'the event arrives');
  t.is(await daprd.stop(), 0);
});

test('times beyond what a timer can wait are long, and do not end at once', async (t) => {
  const daprd = await startDaprd(t, {
    resources: { 'pubsub.yaml': componentFile('pubsub.sqlite', {}, '2000h') },
    args: ['--dapr-graceful-shutdown-seconds', '9999999', '--hot-reload-reconcile-interval', '2000h'],
  });
  t.is((await publish(daprd, 't', '1')).status, 204);
  t.is(await daprd.stop(), 0);
  t.notRegex(daprd.log(), /TimeoutOverflowWarning/);
});

test('a shutdown that is blocked for longer than a timer can wait is blocked', async (t) => {
  const daprd = await startDaprd(t, { args: ['--dapr-block-shutdown-duration', '700h'] });
  const stopped = daprd.stop();
  await until(() => daprd.log().includes('Blocking graceful shutdown for 700h0m0s'), 'it is blocked');
  t.is((await publish(daprd, 't', '1')).status, 204);
  t.notRegex(daprd.log(), /TimeoutOverflowWarning|Block shutdown period expired/);
  t.is(await daprd.stop(), 1);
  t.is(await stopped, 1);
});
