/** Timers cannot be longer, 25 days: what is set for later fires at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** A signal that aborts after `ms`, 25 days at most, never for Infinity; `cancel` frees its timer. */
export function deadlineAfter(ms: number): { readonly signal: AbortSignal; readonly cancel: () => void } {
  const controller = new AbortController();
  const timer = Number.isFinite(ms) ? setTimeout(() => controller.abort(), Math.min(ms, MAX_TIMER_MS)) : undefined;
  return { signal: controller.signal, cancel: () => clearTimeout(timer) };
}

/** Resolves `ms` after the signal has aborted; never when it does not. */
export function afterAbort(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => setTimeout(resolve, ms), { once: true });
  });
}

/** Rejects with `reason` when the signal aborts, or has aborted already: to race against what may not heed it. */
export function failAtAbort(signal: AbortSignal, reason: () => string): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new Error(reason()));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

/** Waits for `work`. `giveUp` makes it end; it is called when the signal aborts before that, or has aborted already. */
export async function unlessAborted<T>(signal: AbortSignal, giveUp: () => void, work: Promise<T>): Promise<T> {
  signal.addEventListener('abort', giveUp, { once: true });
  if (signal.aborted) giveUp();
  try {
    return await work;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}
