/** `dapr run`: a sidecar, an app beside it, and their common end. */

import { rmSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { socketPath } from '../lib/listen.ts';
import { endGroup, signal } from '../lib/process-table.ts';
import { appVariables } from './app-environment.ts';
import { type Child, type Ending, type SidecarProcess, startApp, startSidecar } from './children.ts';
import type { Call } from './commands.ts';
import { type Cause, exitCode, isClean } from './run-ending.ts';
import { createRunOutput, type RunOutput } from './run-output.ts';
import { planRun, type RunPlan } from './run-plan.ts';
import { type ApiPorts, RunStatus } from './run-status.ts';
import { ask, hostAddress, socketAddress } from './sidecar-api.ts';
import { type StopRequests, stopRequests } from './stop-requests.ts';

/** How long the app may take to end once it was asked to. */
const APP_GRACE_MS = 5000;
/** Beyond its own limit the sidecar is taken to hang. */
const SIDECAR_SLACK_MS = 10_000;

/** Resolves with the app's exit code, or 0 after a clean stop that was asked for. */
export async function run(call: Call): Promise<number> {
  const plan = planRun(call);
  const output = createRunOutput(plan.output);
  for (const note of plan.notes) output.status('note', note);
  if (plan.readyFile !== undefined) rmSync(plan.readyFile, { force: true });
  const requests = stopRequests();
  const status = new RunStatus(plan, output);
  const sidecar = startSidecar(plan.flags, plan.variables, output, status.onReport);
  const children: Child[] = [sidecar];
  try {
    const app = await start(plan, output, status, sidecar, requests);
    if (app) children.push(app);
    const cause = await firstToEnd(sidecar, app, plan, status, requests);
    status.stop();
    if (cause === 'request') output.status('stopping', 'deliveries in hand are finished first; Ctrl-C again hurries');
    const sidecarEnding = await endSidecar(sidecar, plan, requests);
    if (isClean(sidecarEnding)) status.ended('Dapr');
    const appEnding = app && (await endApp(app, requests));
    if (appEnding && isClean(appEnding)) status.ended('App');
    return exitCode({ cause, sidecar: sidecarEnding, app: appEnding, hurried: requests.hurry.aborted }, plan, status);
  } finally {
    status.stop();
    await endSidecar(sidecar, plan, requests);
    await Promise.all(children.map((child) => child.release()));
    requests.release();
  }
}

/** Starts the app once the sidecar's ports are bound. Undefined when there is none, or when it has come to nothing. */
async function start(
  plan: RunPlan,
  output: RunOutput,
  status: RunStatus,
  sidecar: SidecarProcess,
  requests: StopRequests,
): Promise<Child | undefined> {
  const ports = await Promise.race([status.api, sidecar.ended.then(() => undefined), aborted(requests.end)]);
  if (!ports) return undefined;
  const command = plan.app.join(' ');
  const app =
    command === '' ? undefined : await startApp(plan.app, appVariables(plan, ports, output.pipes.app), output);
  if (app) sidecar.tell({ pid: app.pid, command });
  status.appStarted(app?.pid ?? 0);
  void tellMetadata(plan, ports, { cliPID: process.pid, ...(app && { appPID: app.pid, appCommand: command }) });
  return app;
}

const aborted = (asked: AbortSignal): Promise<undefined> =>
  new Promise((resolve) => {
    if (asked.aborted) resolve(undefined);
    else asked.addEventListener('abort', () => resolve(undefined), { once: true });
  });

/** What other tools look for in the sidecar's metadata. Nothing here depends on it. */
async function tellMetadata(plan: RunPlan, ports: ApiPorts, values: Readonly<Record<string, unknown>>): Promise<void> {
  const { unixDomainSocket, appId, listenAddresses, environment } = plan.sidecar;
  const address = unixDomainSocket
    ? socketAddress(socketPath(unixDomainSocket, appId, 'http'))
    : hostAddress(listenAddresses[0] ?? '127.0.0.1', ports.httpPort);
  for (const [key, value] of Object.entries(values)) {
    const request = {
      method: 'PUT',
      path: `/v1.0/metadata/${key}`,
      contentType: 'text/plain',
      body: String(value),
    } as const;
    await ask(address, { ...request, token: environment.apiToken, timeoutMs: 5000 }).catch(() => undefined);
  }
}

async function firstToEnd(
  sidecar: SidecarProcess,
  app: Child | undefined,
  { appWaitMs, sidecar: { appPort } }: RunPlan,
  status: RunStatus,
  requests: StopRequests,
): Promise<Cause> {
  const done = new AbortController();
  const late = async (): Promise<Cause> => {
    if (appWaitMs === undefined || appPort === 0) return new Promise(() => undefined);
    await wait(appWaitMs, undefined, { signal: done.signal });
    return status.appListens ? new Promise(() => undefined) : 'late';
  };
  try {
    return await Promise.race([
      aborted(requests.end).then((): Cause => 'request'),
      sidecar.ended.then((): Cause => 'sidecar'),
      ...(app ? [app.ended.then((): Cause => 'app')] : []),
      late(),
    ]);
  } finally {
    done.abort();
  }
}

/** Asks the sidecar to drain and waits for its end. */
async function endSidecar(sidecar: SidecarProcess, plan: RunPlan, { hurry, kill }: StopRequests): Promise<Ending> {
  const over = sidecar.ending();
  if (over) return over;
  const ask = (): boolean => signal(sidecar.pid, 'SIGTERM'); // the second makes it end at once
  const end = (): boolean => signal(sidecar.pid, 'SIGKILL');
  ask();
  hurry.addEventListener('abort', ask, { once: true });
  kill.addEventListener('abort', end, { once: true });
  const { gracefulShutdownMs, blockShutdownMs = 0 } = plan.sidecar;
  const limit = gracefulShutdownMs + blockShutdownMs + SIDECAR_SLACK_MS;
  const timer = Number.isFinite(limit) ? setTimeout(end, limit) : undefined;
  const ending = await sidecar.ended;
  clearTimeout(timer);
  hurry.removeEventListener('abort', ask);
  return ending;
}

/** Its whole group, and also what it left behind. A request that has hurried the sidecar already does not count again. */
async function endApp(app: Child, { hurry, kill }: StopRequests): Promise<Ending> {
  await endGroup(app.pid, APP_GRACE_MS, hurry.aborted ? kill : hurry);
  return app.ended;
}
