/** Whether processes run, and how a group of them is ended. */

import { readdirSync, readFileSync } from 'node:fs';
import { sleep } from './sleep.ts';

/** The fields of /proc/<pid>/stat after the command's name: state, parent, group, ... Undefined without such a file. */
function processFields(pid: number): string[] | undefined {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return line.slice(line.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** When the process started, in clock ticks since boot. Undefined where the system does not say. */
export function startTicks(pid: number): number | undefined {
  const ticks = Number(processFields(pid)?.[19]);
  return Number.isSafeInteger(ticks) ? ticks : undefined;
}

/** Whether the process runs and, where that can be told, is the one that started at `ticks`. */
export function isRunning(pid: number, ticks?: number): boolean {
  if (!signal(pid, 0)) return false;
  const fields = processFields(pid);
  if (fields === undefined) return true;
  return fields[0] !== 'Z' && (ticks === undefined || Number(fields[19]) === ticks);
}

/** Sends a signal to a process, or to a group (a negative id). False when there is none of that id. */
export function signal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The processes of a group that run, or undefined where the system does not say. */
export function membersOf(group: number): number[] | undefined {
  const names = readNames('/proc').filter((name) => /^\d+$/.test(name));
  if (names.length === 0) return undefined;
  return names.map(Number).filter((pid) => {
    const fields = processFields(pid);
    return fields !== undefined && Number(fields[2]) === group && fields[0] !== 'Z';
  });
}

/** Whether a process of the group runs. One that has ended and that nobody has asked about does not. */
export function groupRuns(group: number): boolean {
  return signal(-group, 0) && membersOf(group)?.length !== 0;
}

/**
 * Ends every process of a group: SIGTERM, and SIGKILL to what is left after `graceMs` or when `hurry` aborts.
 * Resolves when the group is gone.
 */
export async function endGroup(group: number, graceMs: number, hurry?: AbortSignal): Promise<void> {
  const grace = AbortSignal.timeout(graceMs);
  const deadline = hurry ? AbortSignal.any([hurry, grace]) : grace;
  signal(-group, 'SIGTERM');
  while (!deadline.aborted && groupRuns(group)) await sleep(20, deadline);
  signal(-group, 'SIGKILL');
}

function readNames(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
