/** A sidecar as a process of its own, in a directory of its own. */

import { fork, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { Semaphore } from '../../src/lib/semaphore.ts';
import type { Report } from '../../src/lib/report.ts';
import { until } from './until.ts';

const ENTRY = new URL('../../src/daprd.ts', import.meta.url).pathname;

/** A component file for `pubsub`. Its default of 5 s would be too little to open a file on a busy machine. */
export function componentFile(
  type: string,
  settings: Readonly<Record<string, string>> = {},
  initTimeout = '60s',
): string {
  const metadata = Object.entries(settings).map(
    ([name, value]) => `  - name: ${name}\n    value: ${JSON.stringify(value)}\n`,
  );
  return (
    `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: pubsub\nspec:\n  type: ${type}\n  version: v1\n` +
    `  initTimeout: ${initTimeout}\n` +
    (metadata.length > 0 ? `  metadata:\n${metadata.join('')}` : '')
  );
}

export const MEMORY = componentFile('pubsub.in-memory');

export interface DaprdOptions {
  readonly appId?: string;
  readonly appPort?: number;
  /** Resource files by name. Default: the in-memory broker as `pubsub`. */
  readonly resources?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A directory that outlives this process; made and removed with the test where none is given. */
  readonly directory?: string;
  /** Hears of the process before it has started up. */
  readonly onSpawn?: (pid: number) => void;
  /** Wait until it is ready for the app too. Default: true. */
  readonly ready?: boolean;
}

export interface Daprd {
  readonly http: string;
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly metricsPort: number;
  readonly pid: number;
  readonly directory: string;
  readonly reports: readonly Report[];
  log(): string;
  /** Sends the signal and resolves with the exit code, or the signal's name. */
  stop(signal?: NodeJS.Signals): Promise<number | string>;
}

/** Starting takes a core for half a second: the tests of a file start theirs a few at a time, not all at once. */
const starts = new Semaphore(3);

/** Starts one and ends it with the test, whatever happens. */
export async function startDaprd(t: ExecutionContext, options: DaprdOptions = {}): Promise<Daprd> {
  await starts.acquire();
  return launch(t, options).finally(() => starts.release());
}

async function launch(t: ExecutionContext, options: DaprdOptions): Promise<Daprd> {
  const directory = options.directory ?? (await temporaryDirectory(t));
  const resources = join(directory, `resources-${options.appId ?? 'app'}`);
  await mkdir(resources, { recursive: true });
  for (const [name, text] of Object.entries(options.resources ?? { 'pubsub.yaml': MEMORY })) {
    await writeFile(join(resources, name), text);
  }
  const child = fork(
    ENTRY,
    [
      ...['--app-id', options.appId ?? 'app', '--resources-path', resources],
      ...['--dapr-http-port', '0', '--dapr-grpc-port', '0', '--metrics-port', '0', '--log-level', 'debug'],
      ...(options.appPort ? ['--app-port', String(options.appPort)] : []),
      ...(options.args ?? []),
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, HOME: directory, ...options.env },
      execArgv: [],
    },
  );
  options.onSpawn?.(child.pid as number);
  return watch(t, child, directory, options.ready ?? true);
}

export async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'daprd-test-'));
  t.teardown(() => rm(directory, { recursive: true, force: true, maxRetries: 5 }));
  return directory;
}

async function watch(t: ExecutionContext, child: ChildProcess, directory: string, ready: boolean): Promise<Daprd> {
  let output = '';
  const reports: Report[] = [];
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.on('message', (report) => reports.push(report as Report));
  // Not at its exit: by then not everything that it said has arrived.
  const exited = new Promise<number | string>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal ?? '')),
  );
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exited;
    if (!t.passed) t.log(output.slice(-6000));
  });
  const found = (type: Report['type']): Report | undefined => reports.find((report) => report.type === type);
  const wanted = ready ? 'ready' : 'api';
  await until(
    () => found(wanted) ?? (child.exitCode !== null && { type: 'exited' }),
    `the sidecar is ${wanted}`,
    60_000,
  );
  const api = found('api');
  if (api?.type !== 'api') {
    await exited;
    throw new Error(`the sidecar did not start:\n${output}`);
  }
  return {
    http: `http://127.0.0.1:${api.httpPort}`,
    httpPort: api.httpPort,
    grpcPort: api.grpcPort,
    metricsPort: api.metricsPort,
    pid: child.pid as number,
    directory,
    reports,
    log: () => output,
    stop: (signal = 'SIGINT') => {
      child.kill(signal);
      return exited;
    },
  };
}

/** Publishes over HTTP; resolves with the response. */
export function publish(
  daprd: Pick<Daprd, 'http'>,
  topic: string,
  body: unknown,
  { type = 'application/json', query = '', pubsub = 'pubsub' } = {},
): Promise<Response> {
  return fetch(`${daprd.http}/v1.0/publish/${pubsub}/${topic}${query && `?${query}`}`, {
    method: 'POST',
    headers: { 'content-type': type },
    body: typeof body === 'string' || Buffer.isBuffer(body) ? (body as string) : JSON.stringify(body),
  });
}
