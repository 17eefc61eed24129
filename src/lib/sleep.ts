import { setTimeout as wait } from 'node:timers/promises';

/** Waits, or returns early when `signal` aborts. Never rejects: who needs to know looks at the signal. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => undefined);
}
