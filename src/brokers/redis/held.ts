import type { Handler } from '../../core/broker.ts';
import type { Entry } from './entry.ts';

/** An entry that this process owns. */
export interface Held {
  readonly id: string;
  /** The delivery that runs or ran last, of those that count; the next one while it is queued. */
  attempt: number;
  /** When the server last knew it in hand, on the clock of `performance.now()`. */
  touchedAt: number;
  /** The server, when last asked, knew nothing of it. */
  isForgotten?: boolean;
  /**
   * queued: for a handler. running: a handler has it. waiting: until its retry is due. due: to be claimed once more.
   * fetching: being claimed. parked. settled: to be acknowledged.
   */
  state: 'queued' | 'running' | 'waiting' | 'due' | 'fetching' | 'parked' | 'settled';
  /** Its payload; a retry mostly keeps it, in case the stream is trimmed or deleted meanwhile. */
  entry?: Entry | undefined;
  abort?: AbortController;
  /** When its retry is due, on the clock of `performance.now()`; of no meaning in other states. */
  dueAt: number;
  timer?: NodeJS.Timeout;
}

/** An entry and the how-many-th delivery it is. */
export interface Delivered {
  readonly entry: Entry;
  readonly attempt: number;
}

/** One subscription's share of what is in hand. */
export class Member {
  readonly handler: Handler;
  readonly running = new Set<Held>();
  /** Takes nothing any more. */
  leaving = false;
  /** Aborts when it must not wait for its handlers any more. */
  readonly hurry = new AbortController();
  private readonly idle = Promise.withResolvers<void>();

  constructor(handler: Handler) {
    this.handler = handler;
  }

  hurryAt(deadline: AbortSignal): void {
    const hurry = (): void => {
      this.hurry.abort();
      this.idle.resolve();
    };
    if (deadline.aborted) hurry();
    else deadline.addEventListener('abort', hurry, { once: true });
  }

  /** To be called once it is leaving: resolves when its handlers have ended, or the time is up. */
  async drained(): Promise<void> {
    if (this.running.size > 0) await this.idle.promise;
  }

  ended(held: Held): void {
    if (this.running.delete(held) && this.leaving && this.running.size === 0) this.idle.resolve();
  }
}
