/** Changes in resource directories, told once things are quiet. */

import { unwatchFile, watch, watchFile, type FSWatcher } from 'node:fs';
import { MAX_TIMER_MS } from '../lib/deadline.ts';

/** An editor writes a file in several steps; half of them are not to be read. */
const QUIET_MS = 100;
/** A file that never rests, a log for instance, must not keep the others from being read. */
const MOST_MS = 2000;
/** How often to look whether a directory is another one by now. */
const POLL_MS = 2000;

/**
 * Calls `onChange` after something changed in one of the directories, and every `intervalMs` in any case: watching can
 * miss things. Ends when `signal` aborts. A directory may be away, made anew, or a link that leads elsewhere by now: it
 * is followed by its name. One that cannot be watched is only looked at by the clock.
 */
export function watchDirectories(
  directories: readonly string[],
  intervalMs: number,
  signal: AbortSignal,
  onChange: () => void,
): void {
  let quiet: NodeJS.Timeout | undefined;
  let since = 0;
  const tell = (): void => {
    quiet = undefined;
    onChange();
  };
  const changed = (): void => {
    if (quiet === undefined) since = performance.now();
    else if (performance.now() - since > MOST_MS) return;
    clearTimeout(quiet);
    quiet = setTimeout(tell, QUIET_MS);
  };
  const clock = setInterval(changed, Math.min(intervalMs, MAX_TIMER_MS)).unref();
  const ends = directories.map((directory) => follow(directory, changed));
  signal.addEventListener(
    'abort',
    () => {
      clearTimeout(quiet);
      clearInterval(clock);
      for (const end of ends) end();
    },
    { once: true },
  );
}

/** What is at the name: `watch` holds on to the directory that was there when it began. Returns what ends it. */
function follow(directory: string, changed: () => void): () => void {
  let watcher: FSWatcher | undefined;
  const begin = (): void => {
    watcher?.close();
    watcher = undefined;
    try {
      watcher = watch(directory, { persistent: false }, changed).on('error', () => undefined);
    } catch {
      // It is away, or cannot be watched: the clock and the look at its name go on.
    }
  };
  const again = (): void => {
    begin();
    changed();
  };
  begin();
  watchFile(directory, { persistent: false, interval: POLL_MS }, again);
  return () => {
    watcher?.close();
    unwatchFile(directory, again);
  };
}
