/**
 * npm start: the sample app examples/hello with a sidecar beside it, on the embedded broker. Publishes one event,
 * shows it arriving, says how to publish another, and goes on until Ctrl-C. Leaves nothing behind: the sidecar's home
 * is a temporary directory.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort, isFree } from './ports.ts';
import { root } from './run.ts';

const PATIENCE_MS = 20_000;

const home = mkdtempSync(join(tmpdir(), 'dapr-start-'));
const port = (await isFree(3500)) ? 3500 : await freePort();
const url = `http://localhost:${port}/v1.0/publish/pubsub/deathStarStatus`;

function startSidecar(appPort: number): ChildProcess {
  const flags = ['--app-id', 'hello', '--app-port', appPort, '--dapr-http-port', port, '--runtime-path', home];
  const command = ['run', ...flags, '--log-level', 'warn', '--', process.execPath, 'examples/hello/app.mjs'];
  // Detached: a Ctrl-C at the terminal comes to us alone, and we hand on one.
  return spawn(join(root, 'bin/dapr'), command.map(String), {
    cwd: root,
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Shows what the sidecar and the app print. Resolves when the app has told of the event. */
function arrival(output: NodeJS.ReadableStream, event: string): Promise<void> {
  return new Promise((resolve) => {
    createInterface({ input: output }).on('line', (line) => {
      console.log(line);
      if (line.includes(event)) resolve();
    });
  });
}

/** Healthy: the app has been asked what it subscribes to, and the subscriptions are open. */
async function ready(): Promise<void> {
  const healthy = async (): Promise<boolean> => {
    const answer = await fetch(`http://127.0.0.1:${port}/v1.0/healthz`).catch(() => undefined);
    return answer?.status === 204;
  };
  while (!(await healthy())) await wait(50);
}

async function publish(data: object): Promise<void> {
  const headers = { 'Content-Type': 'application/json' };
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(data) });
  if (!answer.ok) throw new Error(`the sidecar answered ${answer.status}: ${await answer.text()}`);
  console.log(`published ${JSON.stringify(data)} to ${url}: ${answer.status}`);
}

const within = <T>(what: string, work: Promise<T>): Promise<T> =>
  Promise.race([
    work,
    wait(PATIENCE_MS, undefined, { ref: false }).then(() => {
      throw new Error(`${what} took longer than ${PATIENCE_MS / 1000} s`);
    }),
  ]);

async function demonstrate(sidecar: ChildProcess): Promise<void> {
  const event = { status: 'completed', id: String(process.pid) };
  const arrived = arrival(sidecar.stdout as NodeJS.ReadableStream, `"id":"${event.id}"`);
  await within('the start of the sidecar', ready());
  await publish(event);
  await within('the delivery of the event', arrived);
  console.log(`
It works. Publish another event from a second terminal:

  curl -X POST ${url} -H "Content-Type: application/json" -d '{"status": "completed"}'

Ctrl-C ends it.`);
}

if (port !== 3500) console.log(`Port 3500 is taken, so the sidecar listens on ${port}.`);
console.log('Starting examples/hello with a sidecar beside it ...');
const sidecar = startSidecar(await freePort());
let stopping = false;
/** One signal, however many reach us (npm sends its own after the terminal's). */
function stop(): void {
  if (!stopping) sidecar.kill('SIGINT');
  stopping = true;
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, stop);
sidecar.on('exit', (code, signal) => {
  rmSync(home, { recursive: true, force: true });
  if (!stopping) console.error(`The sidecar ended with ${code ?? signal}.`);
  process.exit(stopping ? (process.exitCode ?? 0) : 1);
});
await demonstrate(sidecar).catch((error: unknown) => {
  console.error((error as Error).message);
  process.exitCode = 1;
  stop();
});
