import { setTimeout as wait } from 'node:timers/promises';

const POLL_MS = 10;
/** Enough on a machine that is busy with other tests, and less than a processing timeout, which would heal much. */
const PATIENCE_MS = 30_000;

type Truthy<T> = Exclude<T, false | 0 | '' | null | undefined>;

/** Waits until `condition` gives something truthy and returns that. Throws, naming `what`, when that takes longer than `ms`. */
export async function until<T>(condition: () => T | Promise<T>, what: string, ms = PATIENCE_MS): Promise<Truthy<T>> {
  const deadline = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value as Truthy<T>;
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await wait(POLL_MS);
  }
}
