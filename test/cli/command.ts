/** The command as a user has it: bin/dapr in a process of its own, with a home directory of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { groupRuns, isRunning } from '../../src/lib/process-table.ts';
import { type Instance, instances } from '../../src/lib/registry.ts';
import { until } from '../_support/until.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
export const DAPR = join(ROOT, 'bin', 'dapr');

export interface Place {
  /** HOME of the command; its Dapr home is `.dapr` in it. */
  readonly home: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Which `dapr`; that of the checkout by default. */
  readonly command?: string;
}

export interface Result {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
}

export function temporaryHome(t: ExecutionContext): string {
  const home = mkdtempSync(join(tmpdir(), 'dapr-cli-'));
  t.teardown(async () => {
    // A sidecar whose command was killed as it started would write its entry into the folder again.
    await until(() => !livesIn(home), `every process of ${home} ended`, 60_000);
    rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  });
  return home;
}

/** Whether a process has the folder as its HOME. */
function livesIn(home: string): boolean {
  return readdirSync('/proc').some((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`HOME=${home}`);
    } catch {
      return false; // not a process, or one that has ended
    }
  });
}

/** Starts the command. It is stopped with the test, whatever happens. */
export function startDapr(
  t: ExecutionContext,
  words: readonly string[],
  { home, cwd = home, env, input, command = DAPR }: Place,
): Running {
  const child = spawn(command, words, { cwd, env: { PATH: process.env['PATH'], HOME: home, ...env } });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  child.stdin.on('error', () => undefined).end(input);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const ended = new Promise<number | string>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal ?? ''));
  });
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL'); // the sidecar notices, and ends the app and itself
      await exited;
    }
    if (!t.passed) t.log(words.join(' '), text.stdout.slice(-3000), text.stderr.slice(-6000));
  });
  return { child, pid: child.pid as number, stdout: () => text.stdout, stderr: () => text.stderr, ended };
}

/** Runs the command to its end. */
export async function dapr(t: ExecutionContext, words: readonly string[], place: Place): Promise<Result> {
  const running = startDapr(t, words, place);
  const code = await running.ended;
  return { code, stdout: running.stdout(), stderr: running.stderr() };
}

/** The running sidecar of the app, once it is there and `fits`. */
export async function listed(
  home: string,
  appId: string,
  fits: (instance: Instance) => boolean = () => true,
): Promise<Instance> {
  const find = (): Instance | undefined =>
    instances(join(home, '.dapr')).find((one) => one.appId === appId && fits(one));
  return until(find, `${appId} is listed`, 60_000);
}

/** Whether the process runs, or one of the group for a negative id. */
export const exists = (pid: number): boolean => (pid < 0 ? groupRuns(-pid) : isRunning(pid));
