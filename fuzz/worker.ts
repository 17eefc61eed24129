/** Runs one target's inputs in a thread of its own, so that an endless loop can be seen and ended. */

import { parentPort, workerData } from 'node:worker_threads';
import { Random } from './random.ts';
import { TARGETS } from './targets.ts';

export interface Job {
  readonly target: string;
  readonly seed: number;
  readonly ms: number;
  /** Instead of generated ones. */
  readonly inputs?: readonly Uint8Array[];
}

export type Said =
  | { readonly type: 'input'; readonly input: Uint8Array }
  | { readonly type: 'failure'; readonly input: Uint8Array; readonly reason: string }
  | { readonly type: 'done' };

const { target: name, seed, ms, inputs } = workerData as Job;
const say = (said: Said): void => parentPort?.postMessage(said);
const target = TARGETS.find((one) => one.name === name);
if (!target) throw new Error(`no target ${name}`);
const random = new Random(seed);

const subject = await target.open();
const ends = performance.now() + ms;
async function attempt(input: Buffer, run: () => Promise<string | undefined>): Promise<void> {
  const reason = await run().catch((error: unknown) =>
    error instanceof Error ? (error.stack ?? error.message) : String(error),
  );
  if (reason !== undefined) say({ type: 'failure', input, reason });
}
let last: Buffer = Buffer.alloc(0);
for (let i = 0; inputs ? i < inputs.length : performance.now() < ends; i++) {
  last = inputs ? Buffer.from(inputs[i] as Uint8Array) : target.generate(random);
  say({ type: 'input', input: last });
  await attempt(last, () => subject.run(last));
}
await attempt(last, async () => subject.finish?.());
await subject.close();
say({ type: 'done' });
process.exit(0);
