/** What clients may make the sidecar keep in memory, all of them together, in bytes. */

import { totalmem } from 'node:os';

/** Something kept that only its client can end: a request that is not whole, an answer that is not read. */
export interface Waiting {
  /** Lets go of what is kept, and tells the budget. */
  giveUp(): void;
}

const SHARE = 4;
const MIN_BYTES = 64 << 20;
const MAX_BYTES = 1 << 30;
/** Of the largest request, for one to be received while others are in hand. */
const MIN_REQUESTS = 4;

/** A quarter of the memory that there is, from 64 MiB to 1 GiB; more where a request may be larger (0: any size). */
export function budgetBytes(maxRequestBytes: number): number {
  const memory = Math.min(process.constrainedMemory() || Infinity, totalmem());
  const share = Math.min(Math.max(memory / SHARE, MIN_BYTES), MAX_BYTES);
  return Math.max(Math.floor(share), maxRequestBytes > 0 ? maxRequestBytes * MIN_REQUESTS : 0);
}

export class MemoryBudget {
  readonly maxBytes: number;
  private kept = 0;
  /** In the order in which they began to wait. */
  private readonly waiting = new Set<Waiting>();

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /**
   * Counts so many bytes more, or fewer. Past the budget those that wait are given up, the longest first. False: that
   * was not enough, the rest is in hand.
   */
  keep(bytes: number): boolean {
    this.kept += bytes;
    if (this.kept <= this.maxBytes || bytes <= 0) return true;
    for (const one of this.waiting) {
      if (this.kept <= this.maxBytes) break;
      this.waiting.delete(one);
      one.giveUp();
    }
    return this.kept <= this.maxBytes;
  }

  /** From now on `one` may be given up. */
  await(one: Waiting): void {
    this.waiting.add(one);
  }

  /** It waits no more. */
  forget(one: Waiting): void {
    this.waiting.delete(one);
  }
}
