/** A signal that aborts after `ms`, never for Infinity; `cancel` frees its timer. */
export function deadlineAfter(ms: number): { readonly signal: AbortSignal; readonly cancel: () => void } {
  const controller = new AbortController();
  const timer = Number.isFinite(ms) ? setTimeout(() => controller.abort(), ms) : undefined;
  return { signal: controller.signal, cancel: () => clearTimeout(timer) };
}

/** Resolves `ms` after the signal has aborted; never when it does not. */
export function afterAbort(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => setTimeout(resolve, ms), { once: true });
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
