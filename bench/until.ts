import { setTimeout as wait } from 'node:timers/promises';

/** Asks every 2 ms until the answer is yes. Rejects after `ms`, naming what it waited for. */
export async function until(what: string, ms: number, condition: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${what} was not ready within ${ms / 1000} s`);
    await wait(2);
  }
}
