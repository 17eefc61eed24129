import { setTimeout as wait } from 'node:timers/promises';
import { MAX_TIMER_MS } from './deadline.ts';

/** Waits, or returns early when `signal` aborts. Never rejects: who needs to know looks at the signal. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await wait(Math.min(ms, MAX_TIMER_MS), undefined, { signal }).catch(() => undefined);
}
