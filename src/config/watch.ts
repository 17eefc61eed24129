/** Changes in resource directories, told once things are quiet. */

import { watch } from 'node:fs';
import { MAX_TIMER_MS } from '../lib/deadline.ts';

/** An editor writes a file in several steps; half of them are not to be read. */
const QUIET_MS = 100;

/**
 * Calls `onChange` after something changed in one of the directories, and every `intervalMs` in any case: watching can
 * miss things. Ends when `signal` aborts. A directory that cannot be watched is only looked at by the clock.
 */
export function watchDirectories(
  directories: readonly string[],
  intervalMs: number,
  signal: AbortSignal,
  onChange: () => void,
): void {
  let quiet: NodeJS.Timeout | undefined;
  const changed = (): void => {
    clearTimeout(quiet);
    quiet = setTimeout(onChange, QUIET_MS);
  };
  const clock = setInterval(onChange, Math.min(intervalMs, MAX_TIMER_MS)).unref();
  for (const directory of directories) {
    try {
      watch(directory, { signal, persistent: false }, changed).on('error', () => undefined);
    } catch {
      // The clock looks after it.
    }
  }
  signal.addEventListener(
    'abort',
    () => {
      clearTimeout(quiet);
      clearInterval(clock);
    },
    { once: true },
  );
}
