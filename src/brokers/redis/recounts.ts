import { messageOf } from '../../core/errors.ts';
import type { Teller } from '../../lib/teller.ts';
import type { ConsumerNames } from './consumer-name.ts';
import type { Held } from './held.ts';
import { untouchedMs } from './leases.ts';
import { alike } from './release.ts';
import type { StreamGroup } from './stream-group.ts';

/**
 * Takes deliveries that were no attempts out of the server's count, for whoever takes over after a kill. The server is
 * told the count itself and not a difference, so that the next time, or a release, makes good for one that failed.
 */
export class Recounts {
  private readonly group: StreamGroup;
  private readonly names: ConsumerNames;
  private readonly teller: Teller;
  private readonly waiting = new Set<Held>();

  constructor(group: StreamGroup, names: ConsumerNames, teller: Teller) {
    this.group = group;
    this.names = names;
    this.teller = teller;
  }

  /** Soon, together with others. Not before `keeping` has ended: a renewal looks like somebody else's touch. */
  add(held: Held, keeping: () => Promise<void> | undefined): void {
    if (this.waiting.size === 0) setImmediate(() => void this.send(keeping));
    this.waiting.add(held);
  }

  private async send(keeping: () => Promise<void> | undefined): Promise<void> {
    await keeping();
    const all = [...this.waiting];
    this.waiting.clear();
    // One that is delivered by now is counted anew on the server.
    const resting = all.filter(({ state }) => state === 'waiting' || state === 'due');
    const parked = all.filter(({ state }) => state === 'parked');
    await Promise.all([this.recount(this.names.own, resting), this.recount(this.names.parked, parked)]);
  }

  private async recount(consumer: string, batch: readonly Held[]): Promise<void> {
    const parts = alike(batch, ({ attempt }) => String(attempt));
    await Promise.all(parts.map((part) => this.tell(consumer, part)));
  }

  private async tell(consumer: string, part: readonly [Held, ...Held[]]): Promise<void> {
    const ids = part.map(({ id }) => id);
    const now = performance.now();
    const untouched = untouchedMs(part, now);
    for (const held of part) held.touchedAt = now;
    try {
      await this.group.handOver(consumer, ids, untouched, 0, part[0].attempt);
    } catch (error) {
      this.teller.note(`counting attempts of topic ${this.group.topic} fails: ${messageOf(error)}`);
    }
  }
}
