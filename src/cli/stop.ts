import { groupRuns, isRunning, signal } from '../lib/process-table.ts';
import { type Instance, instances } from '../lib/registry.ts';
import { sleep } from '../lib/sleep.ts';
import type { Call } from './commands.ts';
import { Exit, Failure, usage } from './failure.ts';

const DEFAULT_TIMEOUT_MS = 15_000;

/** Asks apps and their sidecars to end, and waits until they have. */
export async function stop({ options, operands, home }: Call): Promise<number> {
  const wanted = [...operands, ...options.list('app-id')];
  const all = options.on('all') ?? false;
  if (wanted.length === 0 && !all) throw usage('which app?', 'dapr stop <app-id>', 'dapr stop --all');
  const running = instances(home);
  const missing = wanted.filter((id) => !running.some(({ appId }) => appId === id));
  const chosen = running.filter(({ appId }) => all || wanted.includes(appId));
  const deadline = AbortSignal.timeout(options.duration('timeout') ?? DEFAULT_TIMEOUT_MS);
  const ended = await Promise.all(chosen.map((instance) => end(instance, options.on('force') ?? false, deadline)));
  for (const { appId } of chosen.filter((_, index) => ended[index])) process.stdout.write(`stopped ${appId}\n`);
  const left = chosen.filter((_, index) => !ended[index]).map(({ appId }) => appId);
  if (left.length > 0) throw stillRunning(left);
  if (missing.length > 0) throw notRunning(missing, running);
  if (chosen.length === 0) process.stdout.write('nothing runs\n');
  return Exit.done;
}

/** Whether the instance and the command that started it are gone before the deadline. */
async function end(instance: Instance, force: boolean, deadline: AbortSignal): Promise<boolean> {
  const { pid, cliPid, appPid } = instance;
  const pids = [cliPid, pid].filter((one) => one > 0);
  const alive = (): boolean => pids.some((one) => isRunning(one)) || (force && appPid > 0 && groupRuns(appPid));
  if (force) {
    if (appPid > 0) signal(-appPid, 'SIGKILL');
    for (const one of pids) signal(one, 'SIGKILL');
  } else signal(pids[0] as number, 'SIGTERM');
  while (alive() && !deadline.aborted) await sleep(20, deadline);
  return !alive();
}

function stillRunning(ids: readonly string[]): Failure {
  return new Failure(`still running: ${ids.join(', ')}`, {
    exit: Exit.timedOut,
    code: 'STILL_RUNNING',
    why: 'the deliveries in hand are not finished, or the app does not end',
    next: ids.map((id) => `dapr stop ${id} --force`),
  });
}

function notRunning(ids: readonly string[], running: readonly Instance[]): Failure {
  const names = running.map(({ appId }) => appId).join(', ');
  return new Failure(`not running: ${ids.join(', ')}`, {
    exit: Exit.notFound,
    code: 'NO_INSTANCE',
    why: names === '' ? 'nothing runs' : `running: ${names}`,
  });
}
