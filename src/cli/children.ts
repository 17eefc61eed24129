/** The two processes of `run`. Each leads a group of its own, so that Ctrl-C reaches us alone and we decide. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, existsSync } from 'node:fs';
import { constants as system } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { packageRoot } from '../lib/package-root.ts';
import type { AppProcess, Notice, Report } from '../lib/report.ts';
import { Exit, Failure } from './failure.ts';
import type { RunOutput } from './run-output.ts';

/** How a process ended, as shells count: its code, or 128 and the signal's number. */
export interface Ending {
  readonly code: number;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly pid: number;
  /** Set once it has ended. */
  ending(): Ending | undefined;
  readonly ended: Promise<Ending>;
  /** After its end: waits for the rest of its output, but not for a process that got away with the pipe. */
  release(): Promise<void>;
}

const RELEASE_MS = 500;

export interface SidecarProcess extends Child {
  tell(app: AppProcess): void;
}

export function startSidecar(
  flags: readonly string[],
  variables: NodeJS.ProcessEnv,
  output: RunOutput,
  onReport: (report: Report) => void,
): SidecarProcess {
  const root = packageRoot();
  const source = join(root, 'src', 'daprd.ts');
  const entry = existsSync(source) ? source : join(root, 'dist', 'daprd.cjs');
  const log = output.pipes.log ? 'pipe' : 2;
  const child = spawn(process.execPath, [...process.execArgv, entry, ...flags], {
    env: variables,
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  });
  if (child.stdout) output.sidecar(child.stdout);
  if (child.stderr) output.sidecar(child.stderr);
  child.on('message', (message) => onReport(message as Report));
  const tell = (app: AppProcess): void => {
    if (child.connected) child.send({ type: 'app-process', ...app } satisfies Notice, () => undefined);
  };
  return { ...watched(child), tell };
}

/** Rejects with a Failure when the program is not there (127) or cannot be executed (126). */
export async function startApp(
  command: readonly string[],
  variables: NodeJS.ProcessEnv,
  output: RunOutput,
): Promise<Child> {
  const [program = '', ...words] = command;
  const stdio = output.pipes.app ? 'pipe' : 'inherit';
  const child = spawn(program, words, { env: variables, detached: true, stdio: ['inherit', stdio, stdio] });
  if (child.stdout) output.app(child.stdout, 'stdout');
  if (child.stderr) output.app(child.stderr, 'stderr');
  try {
    await once(child, 'spawn');
  } catch (error) {
    throw notStarted(command, error as NodeJS.ErrnoException, variables);
  }
  return watched(child);
}

function watched(child: ChildProcess): Child {
  let ending: Ending | undefined;
  const closed = once(child, 'close').catch(() => undefined);
  const ended = new Promise<Ending>((resolve) => {
    child.on('error', () => undefined);
    child.on('exit', (code, signal) => {
      ending = { code: code ?? 128 + (signal ? system.signals[signal] : 0), signal };
      resolve(ending);
    });
  });
  const release = async (): Promise<void> => {
    await Promise.race([closed, sleep(RELEASE_MS, undefined, { ref: false })]);
    child.stdout?.destroy();
    child.stderr?.destroy();
  };
  return { pid: child.pid ?? 0, ending: () => ending, ended, release };
}

function notStarted(command: readonly string[], error: NodeJS.ErrnoException, variables: NodeJS.ProcessEnv): Failure {
  const [program = '', ...words] = command;
  if (error.code === 'EACCES') {
    return new Failure(`${program} cannot be executed`, {
      exit: Exit.notExecutable,
      code: 'NOT_EXECUTABLE',
      why: error.message,
      next: [`chmod +x ${program}, or name the program that runs it`],
    });
  }
  const other = { python: 'python3', pip: 'pip3', node: 'nodejs' }[program];
  const found = other !== undefined && isOnPath(other, variables);
  return new Failure(`there is no program "${program}"`, {
    exit: Exit.noSuchProgram,
    code: 'NO_PROGRAM',
    why: found ? `but there is ${other}` : error.message,
    next: found ? [`dapr run ... ${[other, ...words].join(' ')}`] : [],
  });
}

function isOnPath(program: string, { PATH = '' }: NodeJS.ProcessEnv): boolean {
  return PATH.split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
