import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { DAPR, ROOT, temporaryHome } from './command.ts';

const run = (command: string, words: string[] = ['version'], env: NodeJS.ProcessEnv = {}) =>
  spawnSync(command, words, { env, encoding: 'utf8' });

/** A program that says it is this version of Node, and what it is called with. */
function fakeNode(directory: string, version: string): void {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, 'node');
  writeFileSync(path, `#!/bin/sh\nif [ "$1" = --version ]; then echo ${version}; else echo "${version} runs $*"; fi\n`);
  chmodSync(path, 0o755);
}

test('both commands start with an empty environment', (t) => {
  t.regex(run(DAPR).stdout, /^CLI version: /);
  t.regex(run(join(ROOT, 'bin', 'daprd'), ['--version']).stdout, /^\d+\.\d+\.\d+/);
  t.regex(run(DAPR, ['version'], { PATH: '' }).stdout, /^CLI version: /);
});

test('links to a command, and links to links, lead to it', (t) => {
  const home = temporaryHome(t);
  mkdirSync(join(home, 'a'));
  symlinkSync(DAPR, join(home, 'a', 'first'));
  symlinkSync('a/first', join(home, 'second'));
  t.regex(run(join(home, 'second')).stdout, /^CLI version: /);
});

test('the two launchers differ in their name alone', (t) => {
  const text = (name: string): string => readFileSync(join(ROOT, 'bin', name), 'utf8');
  t.is(text('dapr').replace('name=dapr\n', 'name=daprd\n').replace('Starts `dapr`', 'Starts `daprd`'), text('daprd'));
});

test('the node on the path is used where it is new enough, else that of the checkout', (t) => {
  const home = temporaryHome(t);
  for (const [version, isUsed] of [
    ['v24.12.0', true],
    ['v24.11.1', false],
    ['v25.0.0', true],
    ['v20.20.2', false],
    ['', false],
  ] as const) {
    const bin = join(home, version);
    fakeNode(bin, version);
    const { stdout } = run(DAPR, ['version'], { PATH: bin });
    t.regex(stdout, isUsed ? new RegExp(`^${version} runs .*dapr\\.ts version`) : /^CLI version: /, version);
  }
});

test('without a fitting Node one sentence says what to do', (t) => {
  const home = temporaryHome(t);
  cpSync(join(ROOT, 'bin'), join(home, 'bin'), { recursive: true });
  fakeNode(join(home, 'old'), 'v20.0.0');
  const { status, stdout, stderr } = run(join(home, 'bin', 'dapr'), ['version'], { PATH: join(home, 'old') });
  t.is(status, 1);
  t.is(stdout, '');
  t.regex(stderr, /^dapr needs Node 24\.12 or newer: .*\n$/);
});

test('an installed package runs what was built', (t) => {
  const home = temporaryHome(t);
  cpSync(join(ROOT, 'bin'), join(home, 'bin'), { recursive: true });
  fakeNode(join(home, 'new'), 'v24.12.0');
  const { stdout } = run(join(home, 'bin', 'daprd'), ['--app-id', 'a b'], { PATH: join(home, 'new') });
  t.regex(stdout, /dist\/daprd\.cjs --app-id a b/);
});

test('what Node takes for flags of its own, wherever they stand, is the command’s and the app’s', (t) => {
  const home = temporaryHome(t);
  const file = join(home, 'app.env');
  writeFileSync(file, `DAPR_RUNTIME_PATH=${join(home, 'other')}\n`);
  const env = { HOME: home, PATH: process.env['PATH'] };
  const missing = run(DAPR, ['run', '--env-file', join(home, 'missing'), 'true'], env);
  t.is(missing.status, 125);
  t.regex(missing.stderr, /^error {2}NO_FILE {2}cannot read .*missing\nwhy {4}ENOENT/);
  const asked = run(DAPR, ['run', '--env-file', file, '--', 'sh', '-c', 'echo "the app has $DAPR_RUNTIME_PATH"'], env);
  t.is(asked.status, 0, asked.stderr);
  t.regex(asked.stdout, /the app has .*other/);
  t.false(existsSync(join(home, 'other')), 'the sidecar has its own');
});
