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
