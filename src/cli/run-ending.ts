/** How a run ended, as an exit code or as a failure that says why. */

import { constants as system } from 'node:os';
import type { Ending } from './children.ts';
import { Exit, Failure } from './failure.ts';
import { holderOf } from './listeners.ts';
import type { RunPlan } from './run-plan.ts';
import type { RunStatus } from './run-status.ts';

/** What ended first: `request` is a signal to us, `late` the time for the app to listen. */
export type Cause = 'request' | 'sidecar' | 'app' | 'late';

export interface RunEnding {
  readonly cause: Cause;
  readonly sidecar: Ending;
  readonly app: Ending | undefined;
  /** Whether a second signal cut the end short. */
  readonly hurried: boolean;
}

/** The app's own code where the app ended first, else 0 if the end was clean. Throws a Failure for what was no end that anybody wanted. */
export function exitCode({ cause, sidecar, app, hurried }: RunEnding, plan: RunPlan, status: RunStatus): number {
  const { code } = sidecar;
  if (cause === 'app' && app) return app.code;
  if (cause === 'late') throw neverListened(plan);
  if (cause === 'sidecar' && code !== 0) throw sidecarFailed(plan, status, code);
  if (hurried) return 128 + system.signals.SIGINT;
  if (app && !isClean(app)) return app.code;
  return isClean(sidecar) ? Exit.done : Exit.runFailed;
}

/** By itself without a complaint, by our signal, or by a handler for it. */
export const isClean = ({ code, signal }: Ending): boolean => signal === 'SIGTERM' || [0, 130, 143].includes(code);

function neverListened({ sidecar: { appChannelAddress, appPort } }: RunPlan): Failure {
  return new Failure(`the app did not listen on ${appChannelAddress}:${appPort}`, {
    exit: Exit.timedOut,
    code: 'APP_NOT_LISTENING',
    next: ['--app-port <the port it listens on>, or a longer --app-wait-timeout'],
  });
}

/** In its own words, with what we can add on ports. */
function sidecarFailed({ fixedPorts }: RunPlan, { failure }: RunStatus, code: number): Failure {
  const taken = /EADDRINUSE/.test(failure?.message ?? '') ? fixedPorts.flatMap((port) => holderLine(port)) : [];
  if (taken.length > 0) {
    return new Failure(taken.join('; '), {
      exit: Exit.runFailed,
      code: 'PORT_TAKEN',
      why: failure?.message ?? '',
      next: ['end that process, or leave the port out: a free one is found then'],
    });
  }
  return new Failure('the sidecar ended', {
    exit: Exit.runFailed,
    code: 'SIDECAR_FAILED',
    why: failure?.message ?? `exit code ${code}`,
    next: failure?.next ? [failure.next] : [],
  });
}

function holderLine(port: number): string[] {
  const holder = holderOf(port);
  return holder ? [`port ${port} is taken by ${holder.name} (pid ${holder.pid})`] : [];
}
