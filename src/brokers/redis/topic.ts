import type { Handler, Subscription } from '../../core/broker.ts';
import { Acks } from './acks.ts';
import type { ConsumerNames } from './consumer-name.ts';
import { decodeEntries, type RawEntry } from './entry.ts';
import type { Limits } from './appetite.ts';
import { Hand, type HandListener } from './hand.ts';
import { Member, type Held } from './held.ts';
import { renew, tellTrimmed } from './leases.ts';
import type { Reader, Source } from './reader.ts';
import { reasonOf } from './reason.ts';
import { Recounts } from './recounts.ts';
import { release } from './release.ts';
import { Retries } from './retries.ts';
import type { StreamGroup } from './stream-group.ts';
import { Sweep } from './sweep.ts';
import type { Teller } from '../../lib/teller.ts';

/** Who is alone in the group looks only every so many times. */
const LOOKS_ALONE = 3;
/** How soon a look is made again that the server did not answer. */
const FAILED_MS = 250;

export interface TopicOptions extends Limits {
  /** Infinity: what somebody owns who may be alive stays his. */
  readonly processingTimeoutMs: number;
  /** After this long a reply that has not come never will. */
  readonly replyTimeoutMs: number;
}

/** A topic that is subscribed to: reads, claims, renews, acknowledges and releases what its members handle. */
export class Topic implements Source, HandListener {
  readonly name: string;
  private readonly group: StreamGroup;
  private readonly names: ConsumerNames;
  private readonly options: TopicOptions;
  private readonly reader: Reader;
  private readonly teller: Teller;
  private readonly hand: Hand;
  private readonly acks: Acks;
  private readonly recounts: Recounts;
  private readonly retries: Retries;
  private readonly abandoned: Sweep;
  private readonly onClosed: () => void;
  /** What others left behind comes before what is new: until there is no more of it nothing new is read. */
  private hasAbandoned = true;
  private looks = 0;
  private nextLook: NodeJS.Timeout | undefined;
  private sweeping: Promise<void> | undefined;
  private keeping: Promise<void> | undefined;
  private closing: Promise<void> | undefined;

  constructor(
    group: StreamGroup,
    names: ConsumerNames,
    options: TopicOptions,
    reader: Reader,
    teller: Teller,
    onClosed: () => void,
  ) {
    this.name = group.topic;
    this.group = group;
    this.names = names;
    this.options = options;
    this.reader = reader;
    this.teller = teller;
    this.hand = new Hand(group.topic, options, this);
    this.retries = new Retries(group, this.hand, names.own, teller);
    this.abandoned = new Sweep(group, this.hand, names, teller, options.processingTimeoutMs);
    this.acks = new Acks(group, teller, (ids) => this.onAcknowledged(ids));
    this.recounts = new Recounts(group, names, teller);
    this.onClosed = onClosed;
  }

  /** Messages read ahead that no handler has seen yet. */
  get unseen(): number {
    return this.hand.unseen;
  }

  /** While it ends; resolves when it has. */
  get ending(): Promise<void> | undefined {
    return this.closing;
  }

  /** Takes what was left behind, then what is new. */
  open(): void {
    this.reader.add(this);
    void this.sweep();
  }

  join(handler: Handler): Subscription {
    const member = new Member(handler);
    this.hand.members.add(member);
    this.hand.pump();
    let closed: Promise<void> | undefined;
    return {
      close: (deadline) => {
        member.hurryAt(deadline);
        return (closed ??= this.leave(member));
      },
    };
  }

  // Source: what the reader wants to know.

  get wanted(): number {
    return this.hasAbandoned || this.closing || this.acks.isBehind ? 0 : this.hand.wanted;
  }

  deliver(raw: readonly RawEntry[], now: number): void {
    this.hand.take(
      decodeEntries(raw).map((entry) => ({ entry, attempt: 1 })),
      now,
    );
  }

  async recreate(): Promise<void> {
    await this.group.create();
  }

  /** Claims what was sent to us and did not arrive. */
  async recover(): Promise<void> {
    while (this.sweeping) await this.sweeping;
    await this.sweep(0);
  }

  // Work that comes up with time.

  /** To be called now and then: looks around, more rarely when there was nobody else the last time. */
  lookNowAndThen(): void {
    this.looks++;
    if (!this.abandoned.isAlone || this.looks % LOOKS_ALONE === 0) void this.sweep();
  }

  /** Looks for what nobody works on. */
  sweep(ownMs = this.options.replyTimeoutMs): Promise<void> {
    if (this.closing) return Promise.resolve();
    this.sweeping ??= this.lookAround(ownMs).finally(() => {
      this.sweeping = undefined;
      this.onRoom(); // handlers may have ended meanwhile
    });
    return this.sweeping;
  }

  /** Renews the lease of whatever is in hand and was not touched for `afterMs`, unless it still does so. */
  keep(afterMs: number): void {
    this.keeping ??= this.renewAll(afterMs).finally(() => (this.keeping = undefined));
  }

  /** What is parked here was released. */
  forgetParked(ids: readonly string[]): void {
    for (const id of ids) {
      const held = this.hand.find(id);
      if (held?.state === 'parked') this.hand.lose(held);
    }
  }

  // HandListener: what happens to what is in hand.

  onSettled(id: string): void {
    this.acks.add(id);
  }

  onDue(): void {
    this.retries.wake();
  }

  /** When this fails the next renewal does it. */
  onParked(held: Held): void {
    const touch = (): void => void (held.touchedAt = performance.now());
    touch();
    void this.group.renew(this.names.parked, [held.id], 0).then(touch, () => undefined);
  }

  onUncounted(held: Held): void {
    this.recounts.add(held, () => this.keeping);
  }

  onGivenBack(held: Held): void {
    void this.release(() => [held]);
  }

  onRoom(): void {
    if (this.hand.hasDue) this.retries.wake();
    if (this.hasAbandoned) {
      if (this.hand.wanted > 0 && !this.nextLook) void this.sweep();
    } else {
      this.reader.wake(this);
    }
  }

  private async renewAll(afterMs: number): Promise<void> {
    const before = performance.now() - afterMs;
    const old = this.hand.all.filter(({ touchedAt }) => touchedAt <= before);
    const isParked = ({ state }: Held): boolean => state === 'parked';
    try {
      const { own, parked } = this.names;
      const others = old.filter((held) => !isParked(held));
      const trimmed = await renew(this.group, this.hand, own, others);
      const parkedTrimmed = await renew(this.group, this.hand, parked, old.filter(isParked));
      tellTrimmed(this.teller, this.name, trimmed + parkedTrimmed);
    } catch (error) {
      if (this.closing) return; // there is nothing to keep any more
      this.teller.note(`keeping messages of topic ${this.name} fails, trying again: ${reasonOf(error)}`);
    }
  }

  private onAcknowledged(ids: readonly string[]): void {
    for (const id of ids) {
      const held = this.hand.find(id);
      if (held?.state === 'settled') this.hand.lose(held);
    }
    this.reader.wake(this);
  }

  private async lookAround(ownMs: number): Promise<void> {
    clearTimeout(this.nextLook);
    this.nextLook = undefined;
    try {
      this.hasAbandoned = await this.abandoned.run(ownMs);
    } catch (error) {
      // The server's word is final; without one the question is still open.
      if (error instanceof Error && error.name === 'ReplyError') this.hasAbandoned = false;
      else if (!this.closing) this.nextLook = setTimeout(() => void this.sweep(0), FAILED_MS); // it may have claimed
      this.teller.note(`looking for abandoned messages of topic ${this.name} fails, trying again: ${reasonOf(error)}`);
    }
  }

  private async leave(member: Member): Promise<void> {
    member.leaving = true;
    const { members } = this.hand;
    if ([...members].every(({ leaving }) => leaving)) return (this.closing ??= this.close(member));
    await member.drained();
    for (const held of [...member.running]) this.hand.retryNow(held);
    members.delete(member);
  }

  /** Nothing is read or claimed any more; what no handler has goes back at once, the rest when the time is up. */
  private async close(last: Member): Promise<void> {
    clearTimeout(this.nextLook);
    await this.reader.remove(this);
    await this.sweeping;
    await this.retries.stop();
    await this.release((all) => all.filter(({ state }) => state !== 'running' && state !== 'settled'));
    await Promise.all([...this.hand.members].map((member) => member.drained()));
    await this.release((all) => all.filter(({ state }) => state !== 'settled'));
    await this.acks.flush(last.hurry.signal);
    await this.group.bury([this.names.own, this.names.parked]).catch(() => undefined);
    this.onClosed();
  }

  /** Not while leases are renewed: that would look like somebody else's touch. */
  private async release(choose: (all: readonly Held[]) => readonly Held[]): Promise<void> {
    await this.keeping;
    await release(this.group, this.hand, this.names.released, choose(this.hand.all), this.teller);
  }
}
