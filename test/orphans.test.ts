/** Whatever starts sidecars and brokers and is killed leaves nothing: no process, no file. See scripts/orphans.mjs. */

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { temporaryDirectory } from './_support/daprd.ts';
import { until } from './_support/until.ts';

const ROOT = join(import.meta.dirname, '..');
const SOAK = ['test/soak/main.ts', '--row', '47'];

/** Of the processes that have their temporary files in the folder. */
function commandsIn(folder: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const at = `/proc/${pid}`;
      const isIn =
        readFileSync(`${at}/environ`, 'utf8').includes(folder) || readlinkSync(`${at}/cwd`).startsWith(folder);
      return isIn ? [readFileSync(`${at}/cmdline`, 'utf8').replaceAll('\0', ' ')] : [];
    } catch {
      return []; // not a process, or one that has ended
    }
  });
}

/** Starts it, and kills it when there runs what is expected. */
async function kill(
  t: ExecutionContext,
  args: readonly string[],
  expected: readonly string[],
  signal: NodeJS.Signals = 'SIGKILL',
) {
  const folder = await temporaryDirectory(t);
  const env = { ...process.env, TMPDIR: folder };
  const child = spawn(process.execPath, args, { cwd: ROOT, env, stdio: 'ignore' });
  t.teardown(() => child.kill('SIGKILL'));
  const runs = (): boolean => expected.every((name) => commandsIn(folder).some((command) => command.includes(name)));
  await until(runs, `${expected.join(' and ')} run`, 60_000);
  child.kill(signal);
  const left = (): string[] => [...commandsIn(folder), ...readdirSync(folder)];
  await until(() => left().length === 0, 'nothing is left').catch(() => t.deepEqual(left(), []));
  t.pass();
}

for (const signal of ['SIGKILL', 'SIGHUP'] as const) {
  test.serial(`a soak that gets ${signal} leaves nothing behind`, (t) =>
    kill(t, SOAK, ['src/daprd.ts', 'redis-server', 'app-process.ts'], signal),
  );
}

test.serial('nor does one whose starter is killed', (t) =>
  kill(t, ['scripts/bootstrap.mjs', ...SOAK], ['soak/main.ts', 'src/daprd.ts', 'redis-server']),
);

test.serial('nor does fuzzing that is killed', (t) => kill(t, ['fuzz/main.ts', '--target', 'http'], ['src/daprd.ts']));

test.serial('nor does a bench that is killed', (t) =>
  kill(
    t,
    ['bench/main.ts', '--quick', '--broker', 'redis', '--scenario', 'http-publish'],
    ['src/daprd.ts', 'redis-server', 'load.ts'],
  ),
);

test.serial('nor do tests that are killed', (t) =>
  kill(t, ['node_modules/ava/entrypoints/cli.js', 'test/e2e/kill-storm.test.ts'], ['src/daprd.ts', 'ava/lib/worker']),
);
