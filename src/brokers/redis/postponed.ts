import { compareIds } from './entry.ts';
import type { Held } from './held.ts';
import { MAX_TIMER_MS } from '../../lib/deadline.ts';

/** Payloads beyond which a retry does not keep its own. */
const MAX_BYTES = 32 * 2 ** 20;

/** The retries of a topic: waiting, due, and being fetched. */
export class Postponed {
  /** All of them. */
  count = 0;
  fetching = 0;
  private readonly due = new Set<Held>();
  private readonly onDue: () => void;
  private bytes = 0;

  /** `onDue` is called when another one is due. */
  constructor(onDue: () => void) {
    this.onDue = onDue;
  }

  get hasDue(): boolean {
    return this.due.size > 0;
  }

  add(held: Held, afterMs: number): void {
    this.keepPayload(held);
    this.count++;
    postpone(held, afterMs);
    const becomeDue = (): void => {
      held.state = 'due';
      this.due.add(held);
      this.onDue();
    };
    held.timer = setTimeout(becomeDue, Math.min(afterMs, MAX_TIMER_MS));
  }

  /** The oldest that are due, `count` at most; they are being fetched from now on. */
  fetch(count: number): Held[] {
    const batch = [...this.due].sort((a, b) => compareIds(a.id, b.id)).slice(0, count);
    for (const held of batch) {
      held.state = 'fetching';
      this.due.delete(held);
    }
    this.fetching += batch.length;
    return batch;
  }

  /** They could not be fetched: due again. */
  fetchLater(batch: readonly Held[]): void {
    for (const held of batch) {
      if (held.state !== 'fetching') continue;
      held.state = 'due';
      this.due.add(held);
      this.fetching--;
    }
  }

  /** To be called for one of them only. */
  remove(held: Held): void {
    clearTimeout(held.timer);
    this.due.delete(held);
    if (held.state === 'fetching') this.fetching--;
    this.bytes -= held.entry?.data.length ?? 0;
    this.count--;
  }

  /** As a copy: what was read is a view that keeps all of its neighbours. */
  private keepPayload(held: Held): void {
    if (!held.entry) return;
    const { data } = held.entry;
    const fits = this.bytes + data.length <= MAX_BYTES;
    held.entry = fits ? { ...held.entry, data: Buffer.from(data) } : undefined;
    if (fits) this.bytes += data.length;
  }
}

/** Says when it is to be delivered again. */
export function postpone(held: Held, afterMs: number): void {
  held.state = 'waiting';
  held.dueAt = performance.now() + afterMs;
}
