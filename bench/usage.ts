/** What processes have cost, as the kernel counts it. */

import { readdirSync, readFileSync } from 'node:fs';

export interface Usage {
  /** User and system time of all threads, in milliseconds. The kernel tells it in steps of 10. */
  readonly cpuMs: number;
  /** Resident memory now and at its peak, in megabytes (MiB). */
  readonly residentMb: number;
  readonly peakMb: number;
}

/** The kernel's unit of time in /proc, on every Linux. */
const TICK_MS = 10;

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // the process has ended meanwhile
  }
}

/** Fields of /proc/PID/stat from the third on: the second, a name, may hold blanks and brackets. */
function stat(pid: string): string[] {
  const text = read(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

const members = (group: number): string[] =>
  readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(stat(name)[2]) === group);

/** Sums over the living processes of a process group. */
export function groupUsage(group: number): Usage {
  const total = { cpuMs: 0, residentMb: 0, peakMb: 0 };
  for (const pid of members(group)) {
    const fields = stat(pid);
    const status = read(`/proc/${pid}/status`);
    const megabytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s*(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024;
    total.cpuMs += (Number(fields[11]) + Number(fields[12])) * TICK_MS;
    total.residentMb += megabytes('VmRSS');
    total.peakMb += megabytes('VmHWM');
  }
  return total;
}

/** CPU of a group's living threads in milliseconds, finer than `Usage.cpuMs`: for what is close to nothing. */
export function fineCpuMs(group: number): number {
  const threads = members(group).flatMap((pid) =>
    readdirSync(`/proc/${pid}/task`).map((id) => `/proc/${pid}/task/${id}`),
  );
  return threads.reduce((sum, thread) => sum + Number(read(`${thread}/schedstat`).split(' ')[0] ?? 0) / 1e6, 0);
}
