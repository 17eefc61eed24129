import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'ava';
import type { Instance } from '../../src/lib/registry.ts';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { dapr, exists, listed, startDapr, temporaryHome } from './command.ts';

/** An app that answers on its port and does as its last word says. It prints its environment once it hears signals. */
const APP = `
const { createServer } = require('node:http');
const [, , what] = process.argv;
process.on('SIGTERM', () => { if (what !== 'deaf') { console.log('asked to end'); process.exit(what === 'failing' ? 9 : 0); } });
console.log(JSON.stringify(process.env));
console.error('a line on standard error');
if (what?.startsWith('exit')) process.exit(Number(what.slice(4)));
const server = createServer((request, response) => {
  response.statusCode = request.url === '/dapr/subscribe' ? 404 : 200;
  response.end();
});
server.listen(Number(process.env.APP_PORT ?? 0), process.env.APP_HOST ?? '127.0.0.1');
`;

function appIn(home: string): string {
  const path = join(home, 'app.cjs');
  writeFileSync(path, APP);
  return path;
}

const hasApp = ({ appPid }: Instance): boolean => appPid > 0;

test.serial("the app's exit code is passed on", async (t) => {
  const home = temporaryHome(t);
  const { code, stderr } = await dapr(t, ['run', '--app-id', 'coded', '--', process.execPath, appIn(home), 'exit3'], {
    home,
  });
  t.is(code, 3);
  t.regex(stderr, /step=api/);
  t.deepEqual(JSON.parse((await dapr(t, ['list', '-o', 'json'], { home })).stdout), []);
});

test.serial('an app that a signal ended gives 128 and its number', async (t) => {
  const home = temporaryHome(t);
  const { code } = await dapr(t, ['run', '--app-id', 'signalled', 'sh', '-c', 'kill -9 $$'], { home });
  t.is(code, 137);
});

test.serial('the app finds its sidecar in its environment', async (t) => {
  const home = temporaryHome(t);
  const path = join(home, 'more.env');
  writeFileSync(path, 'FROM_FILE=yes\nBOTH=file\n');
  const words = ['--app-id', 'env', '--env-file', path, '--env', 'BOTH=flag', '--app-port', '1'];
  const { stdout } = await dapr(t, ['run', ...words, process.execPath, appIn(home), 'exit0'], {
    home,
    env: { DAPR_API_TOKEN: 'secret', INHERITED: 'yes' },
  });
  const env = JSON.parse(stdout.split('\n')[0] as string) as Record<string, string>;
  t.like(env, {
    APP_ID: 'env',
    APP_PORT: '1',
    APP_PROTOCOL: 'http',
    APP_CHANNEL_ADDRESS: '127.0.0.1',
    DAPR_API_TOKEN: 'secret',
    INHERITED: 'yes',
    FROM_FILE: 'yes',
    BOTH: 'flag',
    DAPR_HTTP_ENDPOINT: `http://127.0.0.1:${env['DAPR_HTTP_PORT']}`,
    DAPR_GRPC_ENDPOINT: `http://127.0.0.1:${env['DAPR_GRPC_PORT']}`,
  });
  t.true(Number(env['DAPR_HTTP_PORT']) >= 3501);
  t.true(Number(env['DAPR_GRPC_PORT']) >= 50_002);
  t.true(Number(env['DAPR_METRICS_PORT']) >= 9090);
});

test.serial("the app's lines pass through as they are, ours go to standard error", async (t) => {
  const home = temporaryHome(t);
  const { stdout, stderr } = await dapr(t, ['run', '--app-id', 'plain', process.execPath, appIn(home), 'exit0'], {
    home,
  });
  t.is(stdout.trim().split('\n').length, 1);
  t.regex(stderr, /^a line on standard error$/m);
  t.regex(stderr, /^time=\S+ app=plain step=api msg=.* httpPort=\d+ grpcPort=\d+/m);
});

test.serial('SIGTERM drains the sidecar, ends the app and is a success', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'ended', process.execPath, appIn(home)], { home });
  const { pid, appPid, cliPid } = await listed(home, 'ended', hasApp);
  t.is(cliPid, running.pid);
  await until(() => running.stdout().includes('APP_ID'), 'the app runs');
  running.child.kill('SIGTERM');
  t.is(await running.ended, 0);
  t.regex(running.stdout(), /asked to end/);
  t.false(exists(pid));
  await until(() => !exists(-appPid), 'nothing of the app is left');
});

test.serial('a stop that is asked for while the sidecar is still starting is a clean one', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'early', process.execPath, appIn(home)], { home });
  const children = `/proc/${running.pid}/task/${running.pid}/children`;
  const sidecar = await until(
    () => words(readFileSync(children, 'utf8')).find((pid) => isSidecar(pid)),
    'the sidecar is starting',
  );
  running.child.kill('SIGINT');
  t.is(await running.ended, 0, running.stderr());
  t.is(running.stdout(), '', 'the app was not started');
  t.false(exists(Number(sidecar)));
});

const words = (text: string): string[] => text.split(' ').filter((word) => word !== '');

function isSidecar(pid: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('daprd.ts');
  } catch {
    return false; // ended since
  }
}

test.serial('an app that fails while it is being stopped is no clean stop', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'failing', process.execPath, appIn(home), 'failing'], { home });
  await listed(home, 'failing', hasApp);
  await until(() => running.stdout().includes('APP_ID'), 'the app runs');
  running.child.kill('SIGINT');
  t.is(await running.ended, 9);
});

test.serial('a second signal hurries an app that will not end', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'deaf', process.execPath, appIn(home), 'deaf'], { home });
  const { pid, appPid } = await listed(home, 'deaf', hasApp);
  await until(() => running.stdout().includes('APP_ID'), 'the app runs');
  running.child.kill('SIGINT');
  await until(() => !exists(pid), 'the sidecar is gone');
  running.child.kill('SIGINT');
  t.is(await running.ended, 130);
  await until(() => !exists(-appPid), 'nothing of the app is left');
});

test.serial('a third signal kills a sidecar that hangs', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'hung', process.execPath, appIn(home)], { home });
  const { pid, appPid } = await listed(home, 'hung', hasApp);
  await until(() => running.stdout().includes('APP_ID'), 'the app runs');
  process.kill(pid, 'SIGSTOP');
  running.child.kill('SIGINT');
  await until(() => running.stderr().includes('step=stopping'), 'the first is heard');
  running.child.kill('SIGTERM');
  running.child.kill('SIGHUP');
  t.is(await running.ended, 130);
  t.false(exists(pid));
  await until(() => !exists(-appPid), 'nothing of the app is left');
});

test.serial('a sidecar whose command is killed before it is up ends as well', async (t) => {
  const home = temporaryHome(t);
  const killed = async (): Promise<boolean> => {
    const running = startDapr(t, ['run', '--app-id', 'early', 'sleep', '1000'], { home });
    const sidecar = await until(() => sidecarOf(running.pid), 'the sidecar is started');
    running.child.kill('SIGKILL');
    await until(() => !exists(sidecar), 'the sidecar is gone');
    await running.ended;
    return !running.stderr().includes('step=api');
  };
  t.true(await until(killed, 'it was killed early enough', 60_000));
});

/** Found among the command's children, as Linux lists them: the launcher has others before. */
function sidecarOf(pid: number): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return children.find((child) => exists(child) && readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('daprd.ts'));
}

test.serial('nothing is left when the command is killed', async (t) => {
  const home = temporaryHome(t);
  const app = `${process.execPath} ${appIn(home)} & wait`;
  const running = startDapr(t, ['run', '--app-id', 'orphan', 'sh', '-c', app], { home });
  const { pid, appPid } = await listed(home, 'orphan', hasApp);
  await until(() => running.stdout().includes('APP_ID'), 'the app runs');
  running.child.kill('SIGKILL');
  await until(() => !exists(pid), 'the sidecar is gone');
  await until(() => !exists(-appPid), 'the app and its children are gone');
  t.pass();
});

test.serial('when the sidecar dies the app is ended, and that is a failure of ours', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'dead', process.execPath, appIn(home)], { home });
  const { pid, appPid } = await listed(home, 'dead', hasApp);
  process.kill(pid, 'SIGKILL');
  t.is(await running.ended, 125);
  t.regex(running.stderr(), /SIDECAR_FAILED/);
  await until(() => !exists(-appPid), 'nothing of the app is left');
});

test.serial('a shutdown that the API was asked for ends both cleanly', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'api', process.execPath, appIn(home)], { home });
  const { httpPort } = await listed(home, 'api', hasApp);
  await until(() => running.stdout().includes('APP_ID'), 'the app runs');
  await fetch(`http://127.0.0.1:${httpPort}/v1.0/shutdown`, { method: 'POST' });
  t.is(await running.ended, 0);
});

test.serial('a program that is not there is 127, and python3 is offered for python', async (t) => {
  const home = temporaryHome(t);
  const bin = join(home, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'python3'), '#!/bin/sh\n');
  chmodSync(join(bin, 'python3'), 0o755);
  const place = { home, env: { PATH: `${bin}:/bin` } };
  const { code, stderr } = await dapr(t, ['run', '--ready-file', join(home, 'r'), 'python', 'app1.py'], place);
  t.is(code, 127);
  t.regex(stderr, /there is no program "python"/);
  t.regex(stderr, /dapr run \.\.\. python3 app1\.py/);
  t.false(/step=ready/.test(stderr) || existsSync(join(home, 'r')));
});

test.serial('a file that cannot be executed is 126', async (t) => {
  const home = temporaryHome(t);
  writeFileSync(join(home, 'app.sh'), 'echo no\n');
  const { code, stderr } = await dapr(t, ['run', '--app-id', 'inert', './app.sh'], { home });
  t.is(code, 126);
  t.regex(stderr, /chmod \+x/);
});

test.serial('a port that is taken is told with who has it', async (t) => {
  const home = temporaryHome(t);
  const server = createServer().listen(0);
  t.teardown(() => void server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  const { code, stderr } = await dapr(t, ['run', '--app-id', 'taken', '--dapr-http-port', String(port)], { home });
  t.is(code, 125);
  t.regex(stderr, new RegExp(`port ${port} is taken by \\S+ \\(pid ${process.pid}\\)`));
});

test.serial('a resources directory that is not there fails with its name', async (t) => {
  const home = temporaryHome(t);
  const { code, stderr } = await dapr(t, ['run', '--app-id', 'nodir', '--resources-path', './nowhere'], { home });
  t.is(code, 125);
  t.regex(stderr, /nowhere/);
});

test.serial('the sidecar’s own refusals are usage errors', async (t) => {
  const home = temporaryHome(t);
  const { code, stderr } = await dapr(t, ['run', '--app-id', 'a.b'], { home });
  t.is(code, 2);
  t.regex(stderr, /cannot contain dots/);
});

test.serial('./components that was not given is pointed out', async (t) => {
  const home = temporaryHome(t);
  mkdirSync(join(home, 'components'));
  const { stderr } = await dapr(t, ['run', '--app-id', 'offer', 'true'], { home });
  t.regex(stderr, /--resources-path \.\/components/);
});

test.serial('an app on another port or address is pointed out, and the wait can be limited', async (t) => {
  const home = temporaryHome(t);
  const [port, other] = [await freePort(), await freePort()];
  const flags = ['--app-id', 'lost', '--app-port', String(port), '--app-wait-timeout', '8s'];
  for (const [variable, hint] of [
    [`APP_PORT=${other}`, `listens on ${other} instead: --app-port ${other}`],
    ['APP_HOST=127.0.0.2', `listens on ${port} at another address, perhaps ::1: --app-channel-address ::1`],
  ] as const) {
    const words = ['run', ...flags, '--env', variable, process.execPath, appIn(home)];
    const { code, stderr } = await dapr(t, words, { home });
    t.is(code, 5);
    t.true(stderr.includes(hint), stderr);
  }
});

test.serial('the ready file is written when everything is ready', async (t) => {
  const home = temporaryHome(t);
  const path = join(home, 'ready.json');
  const port = await freePort();
  const words = ['--app-id', 'ready', '--app-port', String(port), '--ready-file', path];
  startDapr(t, ['run', ...words, process.execPath, appIn(home)], { home });
  await until(() => existsSync(path) && readFileSync(path, 'utf8').endsWith('\n'), 'the file is there');
  const { httpPort, appId, appPid } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  t.is(appId, 'ready');
  t.true(exists(Number(appPid)));
  const response = await fetch(`http://127.0.0.1:${String(httpPort)}/v1.0/healthz`);
  t.is(response.status, 204);
});

test.serial('everything is JSON with -o json', async (t) => {
  const home = temporaryHome(t);
  const { stdout } = await dapr(t, ['run', '--app-id', 'json', '-o', 'json', process.execPath, appIn(home), 'exit0'], {
    home,
  });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  t.true(lines.every(({ v, appId }) => v === 1 && appId === 'json'));
  t.true(lines.some(({ type, step }) => type === 'status' && step === 'api'));
  t.true(
    lines.some(
      ({ type, stream, line }) => type === 'output' && stream === 'stderr' && line === 'a line on standard error',
    ),
  );
});

test.serial('scripts for Dapr’s own command find their lines under --compat', async (t) => {
  const home = temporaryHome(t);
  const app = `echo hello; while [ ! -e ${home}/enough ]; do sleep 0.1; done`;
  const running = startDapr(t, ['run', '--app-id', 'compat', '--compat', 'sh', '-c', app], { home });
  const { stdout: said } = running;
  await until(() => /You're up and running! Both Dapr and your app logs will appear here\./.test(said()), 'it is up');
  await until(() => /^== APP == hello$/m.test(said()), 'the app is heard');
  writeFileSync(join(home, 'enough'), '');
  await running.ended;
  const stdout = said();
  t.regex(stdout, /Exited Dapr successfully/);
  t.regex(stdout, /Exited App successfully/);
});

test.serial('the sidecar’s metadata names the command and the app', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'meta', process.execPath, appIn(home)], { home });
  const { httpPort } = await listed(home, 'meta', hasApp);
  const extended = await until(async () => {
    const response = await fetch(`http://127.0.0.1:${httpPort}/v1.0/metadata`);
    const { extended: found } = (await response.json()) as { extended: Record<string, string> };
    return found['appCommand'] && found;
  }, 'the metadata is told');
  t.is(extended['cliPID'], String(running.pid));
  t.regex(extended['appCommand'] as string, /app\.cjs/);
});

test.serial('two sidecars without flags have different ports', async (t) => {
  const home = temporaryHome(t);
  startDapr(t, ['run', '--app-id', 'one'], { home });
  startDapr(t, ['run', '--app-id', 'two'], { home });
  const [one, two] = await Promise.all([listed(home, 'one'), listed(home, 'two')]);
  t.not(one.httpPort, two.httpPort);
  t.not(one.grpcPort, two.grpcPort);
});
