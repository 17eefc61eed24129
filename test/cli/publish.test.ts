import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import type { Instance } from '../../src/lib/registry.ts';
import { startHttpApp, type HttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { DAPR, dapr, listed, startDapr, temporaryHome } from './command.ts';

const component = (name: string, extra = ''): string => `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: ${name}
spec:
  type: pubsub.sqlite
  version: v1
  metadata:
  - name: retention
    value: 1h
${extra}`;

function resources(home: string, folder: string, text: string): string {
  const directory = join(home, folder);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'pubsub.yaml'), text);
  return directory;
}

interface Wish {
  readonly home: string;
  readonly words?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** A sidecar without an app of its own command, on ports that nobody else looks for. */
async function sidecar(t: ExecutionContext, appId: string, { home, words = [], env }: Wish): Promise<Instance> {
  const ports = ['--dapr-http-port', '0', '--dapr-grpc-port', '0', '--metrics-port', '0'];
  startDapr(t, ['run', '--app-id', appId, ...ports, ...words], { home, ...(env && { env }) });
  return listed(home, appId);
}

/** An app that takes `orders`, and its sidecar once it delivers. */
async function subscriber(t: ExecutionContext, home: string, pubsubname = 'pubsub'): Promise<HttpApp> {
  const app = await startHttpApp({ subscribe: [{ pubsubname, topic: 'orders', route: 'orders' }] });
  t.teardown(() => app.close());
  const { httpPort } = await sidecar(t, 'subscriber', { home, words: ['--app-port', String(app.port)] });
  await until(async () => (await fetch(`http://127.0.0.1:${httpPort}/v1.0/healthz`)).status === 204, 'it is ready');
  return app;
}

test.serial('an event goes through the only sidecar, and its id is told', async (t) => {
  const home = temporaryHome(t);
  const app = await subscriber(t, home);
  const { code, stdout, stderr } = await dapr(
    t,
    ['publish', '--pubsub', 'pubsub', '--topic', 'orders', '--data', '{"n": 12345678901234567890}'],
    { home },
  );
  t.is(code, 0, stderr);
  const [, id] =
    /^published to pubsub\/orders through subscriber \(127\.0\.0\.1:\d+\), event (\S+)\n$/.exec(stdout) ?? [];
  await until(() => app.received.length === 1, 'the event arrives');
  t.like(app.received[0]?.event, { id, datacontenttype: 'application/json' });
  t.true(app.received[0]?.body.toString().includes('12345678901234567890'));
});

test.serial('the pub/sub may be left out when there is one, and data may come on standard input', async (t) => {
  const home = temporaryHome(t);
  const app = await subscriber(t, home);
  const { code, stdout } = await dapr(t, ['publish', '-t', 'orders', '-d', '-', '--id', 'mine', '-o', 'json'], {
    home,
    input: 'hello',
  });
  t.is(code, 0);
  t.like(JSON.parse(stdout) as object, {
    v: 1,
    pubsub: 'pubsub',
    topic: 'orders',
    appId: 'subscriber',
    published: 1,
    failed: 0,
  });
  await until(() => app.received.length === 1, 'the event arrives');
  t.like(app.received[0]?.event, { id: 'mine', data: 'hello', datacontenttype: 'text/plain' });
});

/** Sets O_NONBLOCK on standard input for whoever shares it, and leaves it: an orderly end of Node would undo it. */
const UNBLOCK = `new (require('node:net').Socket)({ fd: 0 }); process.kill(process.pid, 'SIGKILL')`;

test.serial('standard input that does not block is waited for', async (t) => {
  const home = temporaryHome(t);
  const script = '"$0" -e "$1"; exec "$2" publish -t x -d - --dry-run';
  const child = spawn('sh', ['-c', script, process.execPath, UNBLOCK, DAPR], {
    env: { PATH: process.env['PATH'], HOME: home },
  });
  t.teardown(() => void child.kill('SIGKILL'));
  const output = Promise.all([text(child.stdout), text(child.stderr)]);
  await until(() => child.exitCode !== null || polls(child.pid as number), 'it reads, or has given up');
  child.stdin.on('error', () => undefined).end('late');
  const [stdout, stderr] = await output;
  t.is(stderr.replace(/^Killed\n/, ''), '');
  t.regex(stdout, /\nlate\n$/);
});

/** Whether the process waits for its standard input. */
function polls(pid: number): boolean {
  const directory = `/proc/${pid}/fdinfo`;
  return readdirSync(directory).some((fd) => /^tfd:\s+0 /m.test(readFileSync(join(directory, fd), 'utf8')));
}

test.serial('standard input that cannot be read, and addresses that are none, are told as such', async (t) => {
  const home = temporaryHome(t);
  const directory = openSync(home, 'r');
  t.teardown(() => closeSync(directory));
  const child = spawn(DAPR, ['publish', '-t', 'x', '-d', '-'], { env: { HOME: home }, stdio: [directory, 1, 'pipe'] });
  t.regex(
    await text(child.stderr as NonNullable<typeof child.stderr>),
    /^error {2}NO_FILE {2}cannot read standard input\n/,
  );
  for (const address of ['localhost:99999', 'http://', 'http://localhost:99999']) {
    const { code, stderr } = await dapr(t, ['publish', '-t', 'x', '-d', '1', '--sidecar', address], { home });
    t.is(code, 2, address);
    t.true(stderr.startsWith(`error  USAGE  --sidecar wants an app id, a URL or a socket, not "${address}"`), stderr);
  }
});

test.serial('a token that no header can carry is told, and not shown', async (t) => {
  const place = { home: temporaryHome(t), env: { DAPR_API_TOKEN: 'secret\n' } };
  const { code, stderr } = await dapr(t, ['publish', '-t', 'x', '-d', '1', '--sidecar', '127.0.0.1:1'], place);
  t.is(code, 2);
  t.regex(stderr, /^error {2}USAGE {2}the API token .*the end of a line/);
  t.notRegex(stderr, /secret/);
});

test.serial('lines go through the bulk API in order', async (t) => {
  const home = temporaryHome(t);
  const app = await subscriber(t, home);
  const path = join(home, 'orders.ndjson');
  writeFileSync(path, Array.from({ length: 25 }, (_, n) => JSON.stringify({ n })).join('\n'));
  const { code, stdout } = await dapr(t, ['publish', '-t', 'orders', '-f', path, '--lines', '--batch', '10'], { home });
  t.is(code, 0);
  t.regex(stdout, /^published 25 of 25 events to pubsub\/orders/);
  await until(() => app.received.length === 25, 'all events arrive');
  const numbers = app.received.map(({ event }) => (event['data'] as { n: number }).n);
  t.deepEqual(
    numbers.toSorted((a, b) => a - b),
    Array.from({ length: 25 }, (_, n) => n),
  );
});

test.serial('of several sidecars one that has the component is taken, rather one without an app', async (t) => {
  const home = temporaryHome(t);
  const both = ['--resources-path', resources(home, 'both', component('pubsub'))];
  const other = ['--resources-path', resources(home, 'other', component('other'))];
  await sidecar(t, 'with-app', { home, words: [...both, '--app-port', '1'] });
  await sidecar(t, 'without-app', { home, words: both });
  await sidecar(t, 'elsewhere', { home, words: other });
  const through = async (...words: string[]): Promise<string> => {
    const { stdout, stderr } = await dapr(t, ['publish', '-t', 'x', '-d', '1', ...words], { home });
    return /through (\S+)/.exec(stdout)?.[1] ?? stderr;
  };
  t.is(await through('--pubsub', 'pubsub'), 'without-app');
  t.is(await through('--pubsub', 'other'), 'elsewhere');
  t.is(await through('--pubsub', 'pubsub', '-i', 'with-app'), 'with-app');
  t.is(await through('--pubsub', 'pubsub', '--sidecar', 'with-app'), 'with-app');
  t.regex(await through(), /which pub\/sub component/);
  const missing = await dapr(t, ['publish', '-t', 'x', '-d', '1', '-p', 'none'], { home });
  t.is(missing.code, 3);
  t.regex(missing.stderr, /no running sidecar has the pub\/sub component "none"/);
  t.regex(missing.stderr, /elsewhere \(:\d+\) with components \[other\]/);
  t.is((await dapr(t, ['publish', '-t', 'x', '-d', '1', '-i', 'nobody'], { home })).code, 3);
});

test.serial('without a sidecar the event goes straight to the broker, and is there for who comes later', async (t) => {
  const home = temporaryHome(t);
  const { code, stdout, stderr } = await dapr(
    t,
    ['publish', '--pubsub', 'pubsub', '--topic', 'orders', '--data', '{"n":1}'],
    { home },
  );
  t.is(code, 0, stderr);
  t.regex(stdout, /^published to pubsub\/orders through pubsub\.sqlite, without a sidecar, event \S+\n$/);
  const app = await subscriber(t, home);
  await until(() => app.received.length === 1, 'the event arrives');
  t.like(app.received[0]?.event, { data: { n: 1 }, topic: 'orders', pubsubname: 'pubsub' });
});

test.serial('a sidecar can be demanded or gone round', async (t) => {
  const home = temporaryHome(t);
  const refused = await dapr(t, ['publish', '-t', 'x', '-d', '1', '--no-direct'], { home });
  t.is(refused.code, 3);
  t.regex(refused.stderr, /dapr run --app-id myapp/);
  await sidecar(t, 'running', { home });
  const direct = await dapr(t, ['publish', '-t', 'x', '-d', '1', '--direct'], { home });
  t.regex(direct.stdout, /without a sidecar/);
  const memory = resources(home, 'memory', component('pubsub').replace('sqlite', 'in-memory'));
  const kept = await dapr(t, ['publish', '-t', 'x', '-d', '1', '--direct', '--resources-path', memory], { home });
  t.is(kept.code, 3);
  t.regex(kept.stderr, /in a sidecar’s memory/);
});

test.serial('what the sidecar refuses is told in its words, with an exit code of its kind', async (t) => {
  const home = temporaryHome(t);
  const scoped = `  - name: publishingScopes\n    value: "guarded=allowed"\n`;
  const words = ['--resources-path', resources(home, 'scoped', component('pubsub', scoped))];
  const { httpPort } = await sidecar(t, 'guarded', { home, words, env: { DAPR_API_TOKEN: 'secret' } });
  const publish = (...more: string[]) => dapr(t, ['publish', '-d', '1', '-p', 'pubsub', ...more], { home });
  const noToken = await publish('-t', 'allowed');
  t.is(noToken.code, 7);
  t.regex(noToken.stderr, /401 invalid api token/);
  t.is((await publish('-t', 'allowed', '--api-token', 'secret')).code, 0);
  const forbidden = await publish('-t', 'other', '--api-token', 'secret');
  t.is(forbidden.code, 7);
  t.regex(forbidden.stderr, /ERR_PUBSUB_FORBIDDEN/);
  const unknown = await publish('-t', 'x', '--api-token', 'secret', '-p', 'none', '-o', 'json');
  t.is(unknown.code, 3);
  t.like(JSON.parse(unknown.stderr) as object, { error: { code: 'ERR_PUBSUB_NOT_FOUND' } });
  t.is((await publish('-t', 'x', '--sidecar', 'http://127.0.0.1:1')).code, 4);
  t.is((await publish('-t', 'allowed', '--api-token', 'secret', '--sidecar', `http://127.0.0.1:${httpPort}`)).code, 0);
});

test.serial('a sidecar on sockets is reached by its directory', async (t) => {
  const home = temporaryHome(t);
  const sockets = join(home, 's');
  mkdirSync(sockets);
  await sidecar(t, 'on-socket', { home, words: ['--unix-domain-socket', 's'] });
  for (const words of [
    ['-u', sockets],
    [],
    ['-u', sockets, '-i', 'on-socket'],
    ['--sidecar', join(sockets, 'dapr-on-socket-http.socket')],
  ]) {
    const publish = ['publish', '-t', 'x', '-d', '1', '-p', 'pubsub', ...words];
    const { code, stderr } = await dapr(t, publish, { home, cwd: '/' });
    t.is(code, 0, stderr);
  }
});

test.serial('a socket whose name is too long for the system is told as such', async (t) => {
  const home = temporaryHome(t);
  const long = `/${'d'.repeat(110)}`;
  for (const words of [
    ['publish', '-p', 'pubsub', '-t', 'x', '-d', '1', '--sidecar', long],
    ['publish', '-p', 'pubsub', '-t', 'x', '-d', '1', '-u', long, '-i', 'app1'],
    ['run', '-u', long, 'true'],
  ]) {
    const { code, stderr } = await dapr(t, words, { home });
    t.is(code, 2, stderr);
    t.regex(stderr, /^error {2}USAGE {2}.* bytes, and the system takes 107/);
  }
});

test.serial('a dry run shows the request and sends nothing', async (t) => {
  const home = temporaryHome(t);
  const app = await subscriber(t, home);
  const { code, stdout } = await dapr(
    t,
    ['publish', '-t', 'orders', '-p', 'pubsub', '-d', '{"a":1}', '--id', 'x', '--dry-run'],
    { home },
  );
  t.is(code, 0);
  t.regex(
    stdout,
    /^POST 127\.0\.0\.1:\d+\/v1\.0\/publish\/pubsub\/orders\?metadata\.cloudevent\.id=x\nContent-Type: application\/json\n\n\{"a":1\}\n$/,
  );
  const direct = await dapr(t, ['publish', '-t', 'orders', '-d', '{"a":1}', '--direct', '--dry-run'], { home });
  t.regex(direct.stdout, /^without a sidecar\nContent-Type: application\/json\n/);
  t.is((await dapr(t, ['publish', '-t', 'orders', '-p', 'pubsub', '-d', '2'], { home })).code, 0);
  await until(() => app.received.length > 0, 'the second event arrives');
  t.like(app.received[0]?.event, { data: 2 });
});
