/** A network of their own for rows that change its rules: a namespace of the kernel, in which they run as a process. */

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Report } from './report.ts';
import type { Plan, Verdict } from './row.ts';

const VARIABLE = 'SOAK_NETWORK';
const APART = ['--net', '--map-root-user'];
const PREPARE =
  'ip link set lo up && iptables -w -A INPUT -m statistic --mode random --probability 1 && iptables -w -F';

export const isOwnNetwork = process.env[VARIABLE] === 'own';

/** Whether this machine has what it takes: the right to make one, and the tools to lose packets in it. */
export function canHaveOwnNetwork(): boolean {
  try {
    execFileSync('unshare', [...APART, 'sh', '-c', PREPARE], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Performs the row there. Its progress goes to standard error as ours does. */
export async function performApart(row: number, { seed, ms, patience, signal }: Plan): Promise<Verdict> {
  const flags = ['--row', row, '--seed', seed - row, '--minutes', ms / 60_000, '--patience', patience].map(String);
  const command = [process.execPath, join(import.meta.dirname, 'main.ts'), ...flags, '--output', 'json'];
  const child = spawn('unshare', [...APART, 'sh', '-c', `${PREPARE} && exec "$@"`, 'sh', ...command], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, [VARIABLE]: 'own' },
  });
  const stop = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  const [output, [code]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  signal.removeEventListener('abort', stop);
  if (output === '') throw new Error(`row ${row} ended with ${String(code)} and told nothing`);
  const [verdict] = (JSON.parse(output) as Report).rows;
  if (!verdict) throw new Error(`row ${row} was not performed`);
  return verdict;
}
