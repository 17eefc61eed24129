import { sleep } from '../../lib/sleep.ts';
import { reasonOf } from './reason.ts';
import type { StreamGroup } from './stream-group.ts';
import type { Teller } from '../../lib/teller.ts';

/** How long an acknowledgement waits for company. A kill in between costs a second delivery, never a message. */
const GATHER_MS = 5;
const MAX_BATCH = 1000;
/** Beyond so many nothing new is handled: each would be handled again by the next owner. */
const MAX_WAITING = 10_000;
const RETRY_MS = 250;

/** Acknowledges the settled entries of a topic, many with one command, and again until the server has said that it did. */
export class Acks {
  private readonly group: StreamGroup;
  private readonly teller: Teller;
  private readonly onAcknowledged: (ids: readonly string[]) => void;
  private waiting: string[] = [];
  private gathering: NodeJS.Timeout | undefined;
  private sending: Promise<void> | undefined;
  private readonly givenUp = new AbortController();

  constructor(group: StreamGroup, teller: Teller, onAcknowledged: (ids: readonly string[]) => void) {
    this.group = group;
    this.teller = teller;
    this.onAcknowledged = onAcknowledged;
  }

  /** Whether so many wait that there should be no more: the server does not take them. */
  get isBehind(): boolean {
    return this.waiting.length >= MAX_WAITING;
  }

  add(id: string): void {
    this.waiting.push(id);
    this.gather();
  }

  /**
   * Tries until all are acknowledged or `deadline` aborts, at least once. What is left then is not tried any more: it
   * is delivered again to somebody.
   */
  async flush(deadline: AbortSignal): Promise<void> {
    const giveUp = (): void => this.givenUp.abort();
    if (deadline.aborted) giveUp();
    else deadline.addEventListener('abort', giveUp, { once: true });
    while (this.waiting.length > 0 || this.sending) {
      await (this.sending ?? this.send());
      if (deadline.aborted) break;
    }
    deadline.removeEventListener('abort', giveUp);
  }

  private gather(): void {
    if (this.sending || this.waiting.length === 0) return;
    this.gathering ??= setTimeout(() => void this.send(), GATHER_MS);
  }

  private send(): Promise<void> {
    clearTimeout(this.gathering);
    this.gathering = undefined;
    this.sending = this.acknowledge(this.waiting.splice(0, MAX_BATCH)).finally(() => {
      this.sending = undefined;
      if (!this.givenUp.signal.aborted) this.gather();
    });
    return this.sending;
  }

  private async acknowledge(batch: readonly string[]): Promise<void> {
    try {
      await this.group.acknowledge(batch);
      this.onAcknowledged(batch);
    } catch (error) {
      this.waiting.unshift(...batch);
      this.teller.note(`acknowledging messages of topic ${this.group.topic} fails, trying again: ${reasonOf(error)}`);
      await sleep(RETRY_MS, this.givenUp.signal);
    }
  }
}
