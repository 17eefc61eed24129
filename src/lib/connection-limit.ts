/** How many connections clients may hold open, over all servers of the process: they share its file descriptors. */

import { readFileSync } from 'node:fs';

/** A connection, as far as making room for another one needs it. */
export interface Connection {
  /** Whether it has nothing in hand. */
  isIdle(): boolean;
  /** Ends it at once. */
  end(): void;
}

const MOST = 10_000;
/** Below that it is told again when there is no room. */
const ROOMY = 0.9;

/** Half of the file descriptors that the process may have, where the system tells: the rest is for brokers, app and files. */
export function maxConnections(): number {
  try {
    const [, files] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? [];
    return Math.min(MOST, Math.floor(Number(files ?? Infinity) / 2));
  } catch {
    return MOST;
  }
}

export class ConnectionLimit {
  private readonly max: number;
  private readonly onFull: (max: number) => void;
  /** In the order they came. */
  private readonly open = new Set<Connection>();
  private isTold = false;

  /** `onFull` hears once, until there is room again, that connections are refused. */
  constructor(max: number, onFull: (max: number) => void) {
    this.max = max;
    this.onFull = onFull;
  }

  /** One more; past the limit the one that has been open the longest, of those that are idle, ends for it. False: none is idle. */
  enter(connection: Connection): boolean {
    if (this.open.size >= this.max && !this.endIdle()) {
      if (!this.isTold) this.onFull(this.max);
      this.isTold = true;
      return false;
    }
    this.open.add(connection);
    return true;
  }

  /** It has ended. Safe to call twice. */
  leave(connection: Connection): void {
    this.open.delete(connection);
    if (this.open.size < this.max * ROOMY) this.isTold = false;
  }

  private endIdle(): boolean {
    for (const connection of this.open) {
      if (!connection.isIdle()) continue;
      this.open.delete(connection);
      connection.end();
      return true;
    }
    return false;
  }
}
