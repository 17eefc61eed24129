/** Fuzzing one target for a while, with an eye on it. */

import { createHash } from 'node:crypto';
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Job, Said } from './worker.ts';

export interface Failure {
  readonly input: Buffer;
  readonly reason: string;
}
export interface Outcome {
  readonly target: string;
  readonly runs: number;
  readonly failures: readonly Failure[];
}

/** An input may take so long. */
const HANG_MS = 15_000;
const MAX_FAILURES = 20;
const SEEDS = join(import.meta.dirname, 'seeds');

/** Runs the target for `ms`, or through `inputs`. A hang and a crash are failures of the input that was in hand. */
export async function fuzz(target: string, seed: number, ms: number, inputs?: readonly Buffer[]): Promise<Outcome> {
  const ends = performance.now() + ms;
  const failures: Failure[] = [];
  let runs = 0;
  for (let round = 0; ; round++) {
    const left = inputs?.slice(runs) ?? [];
    if (inputs ? left.length === 0 : round > 0 && performance.now() >= ends) break;
    if (failures.length >= MAX_FAILURES) break;
    const job = { target, seed: seed + round, ms: ends - performance.now(), ...(inputs && { inputs: left }) };
    runs += await watch(job, (failure) => failures.push(failure));
  }
  return { target, runs, failures: failures.slice(0, MAX_FAILURES) };
}

/** Resolves with the number of inputs when the thread is over, by itself or because one input took too long. */
function watch(job: Job, onFailure: (failure: Failure) => void): Promise<number> {
  const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData: job, env: process.env });
  let runs = 0;
  let found = 0;
  let last: Buffer = Buffer.alloc(0);
  const fail = (reason: string, input = last): void => {
    onFailure({ input, reason });
    if (++found >= MAX_FAILURES) void worker.terminate();
  };
  let timer: NodeJS.Timeout;
  const hang = (): void => {
    fail(`no end after ${HANG_MS} ms`);
    void worker.terminate();
  };
  worker.on('message', (said: Said) => {
    clearTimeout(timer);
    timer = setTimeout(hang, HANG_MS);
    if (said.type === 'input') {
      runs++;
      last = Buffer.from(said.input);
    }
    if (said.type === 'failure') fail(said.reason, Buffer.from(said.input));
  });
  worker.on('error', (error: Error) => fail(`crash: ${error.stack ?? error.message}`));
  timer = setTimeout(hang, 2 * HANG_MS);
  return new Promise((resolve) =>
    worker.on('exit', () => {
      clearTimeout(timer);
      resolve(Math.max(runs, 1));
    }),
  );
}

/** Keeps the input of a failure as a seed. Returns the file's path. */
export function keep(target: string, { input }: Failure): string {
  const folder = join(SEEDS, target);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, createHash('sha256').update(input).digest('hex').slice(0, 16));
  writeFileSync(file, input);
  return file;
}

/** The inputs that failed once, or are worth running each time. */
export const seedsOf = (target: string): Buffer[] =>
  globSync(join(SEEDS, target, '*'))
    .toSorted()
    .map((file) => readFileSync(file));
