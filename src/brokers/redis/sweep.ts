/**
 * Looking for entries that nobody works on: of consumers that ended, that show no sign of life any more, or that gave
 * them back; and our own, when the reply that brought them got lost. XAUTOCLAIM would do less: it knows nothing of who
 * the owner was and does not say how often an entry was delivered.
 */

import { isGone, isOurs, type ConsumerNames } from './consumer-name.ts';
import type { Hand } from './hand.ts';
import { tellTrimmed } from './leases.ts';
import { reasonOf } from './reason.ts';
import { CLAIMABLE_MS, type ConsumerInfo, type PendingEntry, type StreamGroup } from './stream-group.ts';
import type { Teller } from '../../lib/teller.ts';

const PAGE = 100;
/** How long a consumer that owns nothing stays in the list, when it cannot be told whether it has ended. */
const SILENCE_MS = 3_600_000;

/** Looks around for one topic. */
export class Sweep {
  private readonly group: StreamGroup;
  private readonly hand: Hand;
  private readonly names: ConsumerNames;
  private readonly teller: Teller;
  private readonly processingTimeoutMs: number;
  /** Whether nobody else was in the group when it looked last. */
  isAlone = false;
  private trimmed = 0;
  /** Until the server says otherwise. */
  private mayBury = true;

  /** `processingTimeoutMs` is how long an entry of somebody who may be alive stays untouched before it is taken over. */
  constructor(group: StreamGroup, hand: Hand, names: ConsumerNames, teller: Teller, processingTimeoutMs: number) {
    this.group = group;
    this.hand = hand;
    this.names = names;
    this.teller = teller;
    this.processingTimeoutMs = processingTimeoutMs;
  }

  /**
   * Takes over what it finds, as far as there is room. `ownMs` is how long an entry must be untouched that we own and
   * know nothing of. Resolves with whether there was more.
   */
  async run(ownMs: number): Promise<boolean> {
    this.trimmed = 0;
    try {
      return await this.look(ownMs);
    } finally {
      tellTrimmed(this.teller, this.group.topic, this.trimmed);
    }
  }

  private async look(ownMs: number): Promise<boolean> {
    const dead: string[] = [];
    const consumers = await this.group.consumers();
    this.isAlone = consumers.every((consumer) => this.isNobody(consumer));
    for (const consumer of consumers) {
      const { name, pending, idleMs } = consumer;
      const minIdleMs = this.claimableAfter(consumer, ownMs);
      if (pending === 0) {
        if (minIdleMs === 0 || idleMs > SILENCE_MS) dead.push(name);
      } else if (minIdleMs < Infinity && (await this.takeOver(name, minIdleMs))) {
        return true;
      }
    }
    await this.bury(dead);
    return false;
  }

  /** Whether it is us, or a name for what somebody left behind, and nothing was. */
  private isNobody({ name, pending }: ConsumerInfo): boolean {
    const { own, parked, released, unparked } = this.names;
    return name === own || name === parked || (pending === 0 && (name === released || name === unparked));
  }

  /** How long an entry of the consumer must be untouched to be ours. Infinity: it looks after its entries itself. */
  private claimableAfter({ name, idleMs, pending }: ConsumerInfo, ownMs: number): number {
    const { own, parked, released, unparked } = this.names;
    if (name === own || name === parked) return pending > this.hand.count(name === parked) ? ownMs : Infinity;
    if (name === released || name === unparked || isGone(name)) return 0;
    return isOurs(name) && idleMs < this.processingTimeoutMs ? Infinity : this.processingTimeoutMs;
  }

  /** Resolves with whether there was more than there was room for. */
  private async takeOver(consumer: string, minIdleMs: number): Promise<boolean> {
    for await (const page of this.group.allPending(consumer, PAGE)) {
      const abandoned = page.filter(({ id, idleMs }) => idleMs >= minIdleMs && !this.hand.find(id));
      const isDue = ({ idleMs }: PendingEntry): boolean => consumer !== this.names.released || idleMs >= CLAIMABLE_MS;
      const due = abandoned.filter(isDue);
      await this.adopt(abandoned.filter((entry) => !isDue(entry)));
      while (due.length > 0) {
        const { room } = this.hand;
        if (room <= 0) return true;
        await this.claim(due.splice(0, room));
      }
    }
    return false;
  }

  /** Takes over released entries that still wait for their retry. */
  private async adopt(batch: readonly PendingEntry[]): Promise<void> {
    if (batch.length === 0) return;
    const adopted = new Set(
      await this.group.renew(
        this.names.own,
        batch.map(({ id }) => id),
        untouchedMs(batch),
      ),
    );
    for (const { id, deliveries, idleMs } of batch) {
      if (adopted.has(id)) this.hand.adopt(id, deliveries, CLAIMABLE_MS - idleMs);
    }
  }

  private async claim(batch: readonly PendingEntry[]): Promise<void> {
    const entries = await this.group.claim(
      this.names.own,
      batch.map(({ id }) => id),
      untouchedMs(batch),
    );
    const deliveries = new Map(batch.map((entry) => [entry.id, entry.deliveries]));
    const delivered = entries.map((entry) => ({ entry, attempt: (deliveries.get(entry.id) ?? 0) + 1 }));
    this.hand.take(delivered, performance.now());
    for (const { id } of entries) deliveries.delete(id);
    for (const id of deliveries.keys()) await this.settleIfTrimmed(id);
  }

  /** Somebody else was faster, or there is nothing to deliver any more. */
  private async settleIfTrimmed(id: string): Promise<void> {
    if (await this.group.exists(id)) return;
    await this.group.acknowledge([id]);
    this.trimmed++;
  }

  private async bury(consumers: readonly string[]): Promise<void> {
    const { own, parked } = this.names;
    const others = consumers.filter((name) => isOurs(name) && name !== own && name !== parked);
    if (others.length === 0 || !this.mayBury) return;
    await this.group.bury(others).catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      this.mayBury = false;
      const what = `names of sidecars that have ended stay in the list of consumers of topic ${this.group.topic}`;
      this.teller.note(`${what}: ${reasonOf(error)}`);
    });
  }
}

/** Whether a command is not there, or not for us. */
const isRefusal = (error: unknown): boolean =>
  error instanceof Error && /^(NOPERM|ERR unknown command) /.test(error.message);

/** Of two that want the same entries one gets each: for the other it has not been untouched for so long any more. */
const untouchedMs = (batch: readonly PendingEntry[]): number => Math.min(...batch.map(({ idleMs }) => idleMs));
