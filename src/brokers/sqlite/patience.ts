/** Waiting for a lock that another process holds. Only for the database thread: it blocks. */

const SQLITE_BUSY = 5;
const never = new Int32Array(new SharedArrayBuffer(4));

/** Whether SQLite says that somebody else holds the lock. The low byte is the primary code. */
export function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (Number(error.errcode) & 0xff) === SQLITE_BUSY;
}

/**
 * Runs `action` until the database is not busy, for `limitMs` at most; then throws what it threw. SQLite's own
 * waiting doubles up to 100 ms and so starves next to a sibling that commits all the time; this looks every
 * 0.2-1 ms, at random so that waiters do not meet again.
 */
export function patiently<T>(limitMs: number, action: () => T): T {
  const end = performance.now() + limitMs;
  for (;;) {
    try {
      return action();
    } catch (error) {
      if (!isBusy(error) || performance.now() >= end) throw error;
      Atomics.wait(never, 0, 0, 0.2 + 0.8 * Math.random());
    }
  }
}
