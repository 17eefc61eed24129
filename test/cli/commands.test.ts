import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { needs } from '../../scripts/needs.ts';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { DAPR, dapr, exists, listed, startDapr, temporaryHome } from './command.ts';

test.serial('the version is told as Dapr tells it', async (t) => {
  const home = temporaryHome(t);
  for (const words of [['version'], ['--version'], ['-v']]) {
    const { code, stdout } = await dapr(t, words, { home });
    t.is(code, 0);
    t.regex(stdout, /^CLI version: \d+\.\d+\.\d+ \nRuntime version: \d+\.\d+\.\d+\n$/);
  }
  const { stdout } = await dapr(t, ['version', '-o', 'json'], { home });
  t.deepEqual(Object.keys(JSON.parse(stdout) as object), ['Cli version', 'Runtime version']);
});

test.serial('help is shown for everything and for each command, with examples', async (t) => {
  const home = temporaryHome(t);
  for (const words of [[], ['--help'], ['help'], ['-h']]) {
    const { code, stdout } = await dapr(t, words, { home });
    t.is(code, 0, words.join());
    t.regex(stdout, /dapr run --app-id app1/);
  }
  for (const words of [
    ['run', '--help'],
    ['help', 'run'],
    ['--app-id', 'x', 'run', '-h'],
  ]) {
    const { stdout } = await dapr(t, words, { home });
    t.regex(stdout, /--app-port <port>/, words.join());
    t.notRegex(stdout, /--components-path/);
  }
  t.regex((await dapr(t, ['help', 'run', '--all'], { home })).stdout, /--components-path +--resources-path/);
});

test.serial('what cannot be understood is one message on standard error and exit code 2', async (t) => {
  const home = temporaryHome(t);
  const { code, stdout, stderr } = await dapr(t, ['pubish'], { home });
  t.is(code, 2);
  t.is(stdout, '');
  t.is(stderr, 'error  USAGE  there is no command "pubish"\nnext   did you mean `dapr publish`?\n');
  const json = await dapr(t, ['pubish', '-o', 'json'], { home });
  t.like(JSON.parse(json.stderr) as object, { error: { code: 'USAGE', message: 'there is no command "pubish"' } });
});

test.serial('a word too many is refused before anything is done', async (t) => {
  const home = temporaryHome(t);
  mkdirSync(join(home, '.dapr'));
  for (const words of [
    ['list', 'app1'],
    ['ps', 'app1'],
    ['uninstall', '--all', '--yes', 'redis'],
    ['init', 'redis'],
    ['version', 'app1'],
    ['completion', 'bash', 'zsh'],
    ['help', 'run', 'stop'],
  ]) {
    const { code, stdout, stderr } = await dapr(t, words, { home });
    t.deepEqual([code, stdout], [2, ''], words.join(' '));
    t.regex(stderr, new RegExp(`^error  USAGE  .*"${words.at(-1)}".*\nnext   dapr `), words.join(' '));
  }
  t.deepEqual(readdirSync(join(home, '.dapr')), []);
});

test.serial('old spellings are remarked on when asked', async (t) => {
  const home = temporaryHome(t);
  const words = ['run', '--app-id', 'old', '--components-path', '/nowhere', 'true'];
  t.notRegex((await dapr(t, words, { home })).stderr, /old name/);
  t.regex(
    (await dapr(t, ['--verbose', ...words], { home })).stderr,
    /--components-path is the old name of --resources-path/,
  );
});

test.serial('a reader that stops reading is no error of ours', async (t) => {
  const home = temporaryHome(t);
  const env = { PATH: process.env['PATH'], HOME: home };
  const { status, stdout, stderr } = spawnSync('sh', ['-c', `${DAPR} help run | head -1`], { env, encoding: 'utf8' });
  t.deepEqual([status, stdout, stderr], [0, 'Run a sidecar, and an app beside it.\n', '']);
});

test.serial('nothing that runs is an empty list in every form', async (t) => {
  const home = temporaryHome(t);
  t.is((await dapr(t, ['list', '-o', 'json'], { home })).stdout, '[]\n');
  t.is((await dapr(t, ['ps', '-o', 'yaml'], { home })).stdout, '[]\n');
  t.regex((await dapr(t, ['list'], { home })).stdout, /^APP ID +HTTP PORT .*\n$/);
});

test.serial('what runs is listed, and stopped by its id', async (t) => {
  const home = temporaryHome(t);
  startDapr(t, ['run', '--app-id', 'a1', 'sleep', '1000'], { home });
  startDapr(t, ['run', '--app-id', 'a2', 'sleep', '1000'], { home });
  const a1 = await listed(home, 'a1', ({ appPid }) => appPid > 0);
  const a2 = await listed(home, 'a2');
  const table = (await dapr(t, ['list'], { home })).stdout;
  t.regex(table, new RegExp(`^a1 +${a1.httpPort} +${a1.grpcPort} +sleep 1000 .*${a1.pid}`, 'm'));
  t.false(table.includes('APP PORT'), 'an empty column is left out');
  const rows = JSON.parse((await dapr(t, ['list', '-o', 'json'], { home })).stdout) as Record<string, unknown>[];
  t.like(
    rows.find(({ appId }) => appId === 'a1'),
    {
      httpPort: a1.httpPort,
      daprdPid: a1.pid,
      cliPid: a1.cliPid,
      appPid: a1.appPid,
      command: 'sleep 1000',
    },
  );
  const stopped = await dapr(t, ['stop', 'a1'], { home });
  t.deepEqual([stopped.code, stopped.stdout], [0, 'stopped a1\n']);
  t.false([a1.pid, a1.cliPid, a1.appPid].some(exists));
  t.true(exists(a2.pid));
  t.is((await dapr(t, ['stop', '--all'], { home })).code, 0);
  t.false(exists(a2.pid));
  t.is((await dapr(t, ['stop', '--all'], { home })).code, 0);
});

test.serial('stopping what does not run is exit code 3', async (t) => {
  const home = temporaryHome(t);
  const { code, stderr } = await dapr(t, ['stop', '-a', 'nobody'], { home });
  t.is(code, 3);
  t.regex(stderr, /not running: nobody/);
  t.is((await dapr(t, ['stop'], { home })).code, 2);
});

const DEAF = ['sh', '-c', `trap '' TERM; echo deaf; while :; do sleep 0.1; done`];

test.serial('an app that does not end in time is exit code 5, and is killed a little later', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'slow', ...DEAF], { home });
  const { appPid } = await listed(home, 'slow', ({ appPid: app }) => app > 0);
  await until(() => running.stdout().includes('deaf'), 'the app does not hear');
  const { code, stderr } = await dapr(t, ['stop', 'slow', '--timeout', '1s'], { home });
  t.is(code, 5);
  t.regex(stderr, /dapr stop slow --force/);
  t.is(await running.ended, 137);
  await until(() => !exists(-appPid), 'nothing of the app is left');
});

test.serial('--force ends everything at once', async (t) => {
  const home = temporaryHome(t);
  const running = startDapr(t, ['run', '--app-id', 'deaf', ...DEAF], { home });
  const { pid, appPid } = await listed(home, 'deaf', ({ appPid: app }) => app > 0);
  await until(() => running.stdout().includes('deaf'), 'the app does not hear');
  t.is((await dapr(t, ['stop', 'deaf', '--force'], { home })).code, 0);
  t.false(exists(pid));
  await until(() => !exists(-appPid), 'the app is gone');
});

test.serial('init makes what is missing and leaves what is there', async (t) => {
  const home = temporaryHome(t);
  const first = await dapr(t, ['init', '--broker', 'sqlite'], { home });
  t.is(first.code, 0);
  t.regex(first.stdout, /dapr publish --pubsub pubsub/);
  const file = join(home, '.dapr', 'components', 'pubsub.yaml');
  t.regex(readFileSync(file, 'utf8'), /type: pubsub\.sqlite/);
  t.is(statSync(join(home, '.dapr', 'run')).mode & 0o777, 0o700);
  writeFileSync(file, '# mine\n');
  const second = await dapr(t, ['init', '--broker', 'memory'], { home });
  t.regex(second.stderr, /^already there +.*pubsub\.yaml$/m);
  t.is(readFileSync(file, 'utf8'), '# mine\n');
  await dapr(t, ['init', '--broker', 'memory', '--force'], { home });
  t.regex(readFileSync(file, 'utf8'), /type: pubsub\.in-memory/);
});

test.serial('the component for Redis is that of the documentation, byte for byte', async (t) => {
  const home = temporaryHome(t);
  const { code } = await dapr(t, ['init', '--broker', 'redis', '--slim'], { home });
  t.is(code, 0);
  t.is(readFileSync(join(home, '.dapr', 'components', 'pubsub.yaml'), 'utf8'), SEED);
});

const SEED = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: pubsub
spec:
  type: pubsub.redis
  metadata:
  - name: redisHost
    value: localhost:6379
  - name: redisPassword
    value: ""
`;

test.serial('a Redis elsewhere that does not answer is told, and the file is written all the same', async (t) => {
  const home = temporaryHome(t);
  const { code, stderr } = await dapr(t, ['init', '--redis-host', '127.0.0.2:1'], { home });
  t.is(code, 0);
  t.regex(stderr, /^skipped +Redis does not answer at 127\.0\.0\.2:1$/m);
  t.regex(readFileSync(join(home, '.dapr', 'components', 'pubsub.yaml'), 'utf8'), /value: 127\.0\.0\.2:1/);
});

const redisTest = needs.redis.present() ? test.serial : test.serial.skip;

redisTest('init starts an installed Redis that was asked for, and uninstall ends it', async (t) => {
  const home = temporaryHome(t);
  const port = await freePort();
  const words = ['init', '--broker', 'redis', '--redis-host', `localhost:${port}`];
  const { code, stderr } = await dapr(t, words, { home });
  t.is(code, 0);
  t.regex(stderr, new RegExp(`^done +started redis-server at localhost:${port}`, 'm'));
  const pid = Number(readFileSync(join(home, '.dapr', 'redis', 'redis.pid'), 'utf8'));
  t.teardown(() => void (exists(pid) && process.kill(pid, 'SIGKILL')));
  t.regex((await dapr(t, ['init'], { home })).stderr, /^already there +Redis \d+\.\S+ at localhost/m);
  const { stdout } = await dapr(t, ['uninstall'], { home });
  t.regex(stdout, /stopped the redis-server/);
  t.false(exists(pid));
  t.notRegex((await dapr(t, ['uninstall'], { home })).stdout, /stopped/);
});

test.serial(
  'uninstall keeps events and components; with --all they are deleted, but not under a running sidecar',
  async (t) => {
    const home = temporaryHome(t);
    await dapr(t, ['init', '--broker', 'sqlite'], { home });
    startDapr(t, ['run', '--app-id', 'busy', 'sleep', '1000'], { home });
    await listed(home, 'busy');
    t.regex((await dapr(t, ['uninstall', '--all'], { home })).stderr, /still running: busy/);
    await dapr(t, ['stop', '--all'], { home });
    t.is((await dapr(t, ['uninstall'], { home })).code, 0);
    t.truthy(statSync(join(home, '.dapr', 'components', 'pubsub.yaml')));
    t.is((await dapr(t, ['uninstall', '--all'], { home })).code, 0);
    t.throws(() => statSync(join(home, '.dapr')), { code: 'ENOENT' });
  },
);

test.serial('where a directory or a file should be and something else is, init names it and what to do', async (t) => {
  for (const [name, isFile] of [
    ['components', true],
    ['config.yaml', false],
    ['components/pubsub.yaml', false],
  ] as const) {
    const home = temporaryHome(t);
    const path = join(home, '.dapr', name);
    mkdirSync(isFile ? dirname(path) : path, { recursive: true });
    if (isFile) writeFileSync(path, '');
    const { code, stderr } = await dapr(t, ['init', '--broker', 'sqlite'], { home });
    t.is(code, 1, name);
    t.true(stderr.includes(`error  NOT_PREPARED  ${path} is no ${isFile ? 'directory' : 'file'}`), stderr);
    t.notRegex(stderr, new RegExp(`already there +${path}$`, 'm'));
  }
  const home = temporaryHome(t);
  writeFileSync(join(home, 'file'), '');
  const { code, stderr } = await dapr(t, ['init', '--runtime-path', join(home, 'file')], { home });
  t.is(code, 1);
  t.regex(stderr, /error {2}NOT_PREPARED {2}cannot make .*file\/\.dapr\/components\nwhy {4}ENOTDIR.*\nnext {3}/);
});

test.serial('uninstall of what is not there says so', async (t) => {
  const home = temporaryHome(t);
  for (const words of [['uninstall'], ['uninstall', '--all']]) {
    const { code, stdout } = await dapr(t, words, { home });
    t.is(code, 0);
    t.is(stdout, `${join(home, '.dapr')} does not exist: there is nothing to undo\n`);
  }
});

test.serial('each shell gets its script, and words are completed', async (t) => {
  const home = temporaryHome(t);
  for (const shell of ['bash', 'zsh', 'fish', 'powershell']) {
    t.regex((await dapr(t, ['completion', shell], { home })).stdout, /dapr __complete/);
  }
  t.is((await dapr(t, ['completion', 'tcsh'], { home })).code, 2);
  startDapr(t, ['run', '--app-id', 'running', 'sleep', '1000'], { home });
  await listed(home, 'running');
  const completed = async (...words: string[]): Promise<string> =>
    (await dapr(t, ['__complete', ...words], { home })).stdout;
  t.is(await completed('pu'), 'publish\n');
  t.is(await completed('run', '--app-po'), '--app-port\n');
  t.is(await completed('run', '--app-protocol', 'grpc'), 'grpc\ngrpcs\n');
  t.is(await completed('stop', ''), 'running\n');
  t.is(await completed('publish', '-i', 'r'), 'running\n');
  t.is(await completed('publish', '-f', 'x'), '');
});
