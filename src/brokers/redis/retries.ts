import type { Hand } from './hand.ts';
import type { Held } from './held.ts';
import { examine, giveUp, tellTrimmed, untouchedMs } from './leases.ts';
import { reasonOf } from './reason.ts';
import type { StreamGroup } from './stream-group.ts';
import type { Teller } from '../../lib/teller.ts';

const FAILED_MS = 250;

/** Claims the retries of a topic that are due, which makes the server count another delivery. */
export class Retries {
  private readonly group: StreamGroup;
  private readonly hand: Hand;
  private readonly consumer: string;
  private readonly teller: Teller;
  private timer: NodeJS.Timeout | undefined;
  private claiming: Promise<void> | undefined;
  private isStopped = false;

  constructor(group: StreamGroup, hand: Hand, consumer: string, teller: Teller) {
    this.group = group;
    this.hand = hand;
    this.consumer = consumer;
    this.teller = teller;
  }

  /** Some are due, or there is room again. */
  wake(afterMs = 0): void {
    if (this.claiming || this.isStopped) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.claiming = this.claimDue().finally(() => (this.claiming = undefined));
    }, afterMs);
  }

  /** Claims nothing any more; resolves when what was on its way has come. */
  async stop(): Promise<void> {
    this.isStopped = true;
    clearTimeout(this.timer);
    await this.claiming;
  }

  /** Until none is due that has room: what falls due meanwhile wakes nobody. */
  private async claimDue(): Promise<void> {
    for (let batch = this.hand.due(); batch.length > 0; batch = this.isStopped ? [] : this.hand.due()) {
      try {
        await this.claim(batch, untouchedMs(batch, performance.now()));
        for (const held of batch) if (held.state === 'fetching') await this.lookFor(held);
      } catch (error) {
        this.teller.note(`redelivering messages of topic ${this.group.topic} fails, trying again: ${reasonOf(error)}`);
        this.hand.fetchLater(batch);
        setTimeout(() => this.wake(), FAILED_MS);
        return;
      }
    }
  }

  /** One that could not be claimed: from memory, when the server does not know it any more. */
  private async lookFor(held: Held): Promise<void> {
    const fate = await examine(this.group, this.hand, this.consumer, held);
    if (fate === 'ours') await this.claim([held], 0);
    if (held.state !== 'fetching') return;
    if (held.entry) this.hand.take([{ entry: held.entry, attempt: held.attempt + 1 }], performance.now());
    else if (giveUp(this.hand, held)) tellTrimmed(this.teller, this.group.topic, 1);
  }

  private async claim(batch: readonly Held[], untouched: number): Promise<void> {
    const entries = await this.group.claim(
      this.consumer,
      batch.map(({ id }) => id),
      untouched,
    );
    const attempts = new Map(batch.map(({ id, attempt }) => [id, attempt]));
    const delivered = entries.map((entry) => ({ entry, attempt: (attempts.get(entry.id) ?? 0) + 1 }));
    this.hand.take(delivered, performance.now());
  }
}
