/** A program of another language that tells what happens to it, each fact as one line of JSON. */

import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { needs, sdkModules } from '../../scripts/needs.ts';
import { publish, startDaprd, type Daprd, type DaprdOptions } from '../_support/daprd.ts';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';

/** What it told: `what` of a client, `handler` of an app, and whatever belongs to it. */
export type Fact = Readonly<Record<string, unknown>>;

export interface Program {
  readonly facts: readonly Fact[];
  readonly child: ChildProcess;
  /** Everything it printed that is no fact. */
  noise(): string;
  /** Resolves with its exit code, or the signal's name, when everything it told is there. */
  readonly exited: Promise<number | string>;
}

/** The test where the SDK is there, else the same test skipped: in CI it never gets so far (scripts/test.ts). */
export const testWith = (need: keyof typeof needs): typeof test =>
  (needs[need].present() ? test : test.skip) as typeof test;

/** Where the programs are. */
export const folderOf = (...names: string[]): string => join(import.meta.dirname, ...names);

/** Starts a program and ends it with the test. */
export function startProgram(
  t: ExecutionContext,
  command: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
): Program {
  const [file, ...args] = command;
  const child = spawn(file, args, {
    env: { ...process.env, NODE_PATH: sdkModules, PYTHONDONTWRITEBYTECODE: '1', ...env },
  });
  const facts: Fact[] = [];
  let noise = '';
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() as string;
    for (const line of lines) {
      if (line.startsWith('{')) facts.push(JSON.parse(line) as Fact);
      else noise += `${line}\n`;
    }
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (noise += chunk));
  const exited = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code ?? signal ?? ''));
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await exited;
    if (!t.passed) t.log(`${command.join(' ')}:\n${noise}${facts.map((fact) => JSON.stringify(fact)).join('\n')}`);
  });
  return { facts, child, exited, noise: () => noise };
}

const portsOf = ({ httpPort, grpcPort }: Daprd): Record<string, string> => ({
  DAPR_HTTP_PORT: String(httpPort),
  DAPR_GRPC_PORT: String(grpcPort),
});

/** A sidecar and the app beside it, ready for events. */
export async function startApp(
  t: ExecutionContext,
  command: readonly [string, ...string[]],
  protocol: 'http' | 'grpc',
  options: DaprdOptions = {},
): Promise<{ daprd: Daprd; app: Program }> {
  const appPort = await freePort();
  const args = ['--app-protocol', protocol, ...(options.args ?? [])];
  const daprd = await startDaprd(t, { ...options, appPort, args, ready: false });
  const app = startProgram(t, command, { APP_PORT: String(appPort), ...portsOf(daprd), ...options.env });
  await until(
    () => app.child.exitCode !== null || daprd.reports.some(({ type }) => type === 'ready'),
    'the app is there and subscribed',
    120_000,
  );
  if (app.child.exitCode !== null) throw new Error(`the app ended with ${app.child.exitCode}: ${app.noise()}`);
  return { daprd, app };
}

/** Runs a client to its end; its exit code must be 0. Resolves with what it told, by `what`. */
export async function runClient(
  t: ExecutionContext,
  command: readonly [string, ...string[]],
  daprd: Daprd,
  env: Readonly<Record<string, string>> = {},
): Promise<ReadonlyMap<unknown, Fact>> {
  const client = startProgram(t, command, { ...portsOf(daprd), ...env });
  t.is(await client.exited, 0, client.noise());
  return new Map(client.facts.map((fact) => [fact['what'], fact]));
}

/** A program that subscribes by streams and has said that it is ready. */
export async function startSubscriber(
  t: ExecutionContext,
  command: readonly [string, ...string[]],
  daprd: Daprd,
): Promise<Program> {
  const program = startProgram(t, command, portsOf(daprd));
  await until(() => ofHandler(program, 'ready').length === 1, 'it is subscribed', 120_000);
  return program;
}

/** What one handler was given, in the order it came. */
export const ofHandler = ({ facts }: Program, name: string): Fact[] => facts.filter(({ handler }) => handler === name);

/** Waits until a handler has been called so often, and returns what it was given. */
export async function handled(program: Program, name: string, count = 1): Promise<readonly Fact[]> {
  await until(() => ofHandler(program, name).length >= count, `${name} is called ${count} times`, 60_000);
  return ofHandler(program, name);
}

/** Streams get events without any app, retry, drop, and close. `dead` is what is told of the event that was dropped. */
export async function tellOfStreams(
  t: ExecutionContext,
  command: readonly [string, ...string[]],
  dead: Fact,
): Promise<void> {
  const daprd = await startDaprd(t);
  const subscriber = await startSubscriber(t, command, daprd);
  const text = { type: 'text/plain' };
  await publish(daprd, 'iterated', 'first', text);
  await publish(daprd, 'handled', 'keep', text);
  await publish(daprd, 'handled', 'drop', text);
  await handled(subscriber, 'iterated', 2);
  await publish(daprd, 'iterated', 'last', text);
  t.deepEqual(
    (await handled(subscriber, 'iterated', 3)).map(({ data }) => data),
    ['first', 'first', 'last'],
  );
  t.deepEqual(
    (await handled(subscriber, 'handled', 2)).map(({ data }) => data),
    ['keep', 'drop'],
  );
  t.like((await handled(subscriber, 'dead'))[0], dead);
  subscriber.child.stdin?.end('\n');
  t.is(await subscriber.exited, 0, subscriber.noise());
  const unsubscribed = (): number => daprd.log().match(/Unsubscribed from pubsub/g)?.length ?? 0;
  await until(() => unsubscribed() === 3, 'all three are unsubscribed');
}
