/** What the disk costs: how long an fsync takes, and how many a process makes. */

import { spawn } from 'node:child_process';
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Milliseconds that writing 4 KiB and an fsync take where the runs have their files: the median of 100. */
export function fsyncMs(): number {
  const folder = mkdtempSync(join(tmpdir(), 'bench-fsync-'));
  const file = openSync(join(folder, 'probe'), 'w');
  const block = Buffer.alloc(4096, 1);
  const took = Array.from({ length: 100 }, () => {
    const began = performance.now();
    writeSync(file, block);
    fsyncSync(file);
    return performance.now() - began;
  });
  closeSync(file);
  rmSync(folder, { recursive: true });
  return took.toSorted((a, b) => a - b)[50] as number;
}

/** How often the process and its threads call fsync or fdatasync during `work`. Rejects where strace is missing. */
export async function countFsyncs(pid: number, work: () => Promise<unknown>): Promise<number> {
  const flags = ['--follow-forks', '--summary-only', '--trace=fsync,fdatasync', '--attach', String(pid)];
  const strace = spawn('strace', flags, { stdio: ['ignore', 'ignore', 'pipe'] });
  let summary = '';
  const attached = new Promise<void>((resolve, reject) => {
    strace.on('error', () => reject(new Error('strace is not installed')));
    strace.on('exit', () => reject(new Error(summary.trim())));
    strace.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      summary += chunk;
      if (summary.includes('attached')) resolve();
    });
  });
  const done = new Promise((resolve) => strace.on('close', resolve));
  await attached;
  await work();
  strace.kill('SIGINT');
  await done;
  const calls = summary.matchAll(/^ *[\d.]+ +[\d.]+ +\d+ +(\d+) .*(?:fsync|fdatasync)$/gm);
  return [...calls].reduce((sum, [, count]) => sum + Number(count), 0);
}
