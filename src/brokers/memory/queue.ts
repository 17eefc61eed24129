import type { GroupStats, InboundMessage, OutboundMessage, Outcome } from '../../core/broker.ts';
import type { MemorySubscription } from './subscription.ts';
import { MAX_TIMER_MS } from '../../lib/deadline.ts';

/** A message of one group that is not settled. */
export interface Entry {
  readonly topic: string;
  readonly id: string;
  readonly message: OutboundMessage;
  /** On the clock of `performance.now()`. */
  readonly publishedAt: number;
  attempt: number;
  timer?: NodeJS.Timeout;
}

export interface Limits {
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** What one group has not settled, and who handles it. */
export class Queue {
  /** A topic, or a pattern that ends in `*`. */
  readonly subscribedTo: string;
  private readonly limits: Limits;
  private readonly members: MemorySubscription[] = [];
  /** Everything that is not settled, oldest first. */
  private readonly entries = new Set<Entry>();
  /** Never delivered, oldest first. */
  private readonly fresh = new Set<Entry>();
  /** To be delivered again now, before what is fresh. */
  private readonly again = new Set<Entry>();
  private readonly parked = new Set<Entry>();
  private bytes = 0;
  private dispatching = false;

  constructor(subscribedTo: string, limits: Limits) {
    this.subscribedTo = subscribedTo;
    this.limits = limits;
  }

  /** Why the queue cannot take the message, undefined when it can. */
  refusal(message: OutboundMessage): string | undefined {
    const { maxMessages, maxBytes } = this.limits;
    if (this.entries.size >= maxMessages) {
      return `the subscription to ${this.subscribedTo} has not handled ${maxMessages} messages yet`;
    }
    if (this.bytes > 0 && this.bytes + message.data.length > maxBytes) {
      return `the subscription to ${this.subscribedTo} has not handled ${this.bytes} bytes of messages yet`;
    }
    return undefined;
  }

  add(topic: string, id: string, message: OutboundMessage): void {
    const entry: Entry = { topic, id, message, publishedAt: performance.now(), attempt: 0 };
    this.entries.add(entry);
    this.fresh.add(entry);
    this.bytes += message.data.length;
    this.dispatch();
  }

  join(member: MemorySubscription): void {
    this.members.push(member);
    this.dispatch();
  }

  /** Gives what the member holds to the others. */
  leave(member: MemorySubscription, unsettled: Iterable<Entry>): void {
    this.members.splice(this.members.indexOf(member), 1);
    for (const entry of unsettled) this.again.add(entry);
    this.dispatch();
  }

  settle(entry: Entry, outcome: Outcome): void {
    if (outcome.kind === 'retry' && outcome.uncounted) entry.attempt--;
    if (outcome.kind !== 'retry') this.remove(entry);
    else if (outcome.afterMs === Infinity) this.parked.add(entry);
    else this.postpone(entry, performance.now() + outcome.afterMs);
    this.dispatch();
  }

  unpark(): number {
    const count = this.parked.size;
    for (const entry of this.parked) this.again.add(entry);
    this.parked.clear();
    this.dispatch();
    return count;
  }

  stats(): GroupStats {
    const [oldest] = this.entries;
    return {
      lag: this.fresh.size,
      pending: this.entries.size - this.fresh.size,
      parked: this.parked.size,
      oldestUnsettledMs: oldest ? performance.now() - oldest.publishedAt : 0,
    };
  }

  /** Forgets every message. */
  clear(): void {
    for (const entry of this.entries) clearTimeout(entry.timer);
    for (const set of [this.entries, this.fresh, this.again, this.parked]) set.clear();
    this.bytes = 0;
  }

  private remove(entry: Entry): void {
    if (this.entries.delete(entry)) this.bytes -= entry.message.data.length;
  }

  /** Looks at the clock itself, since timers count from the start of the current tick and so come early. */
  private postpone(entry: Entry, due: number): void {
    const ms = due - performance.now();
    if (ms > 0) {
      entry.timer = setTimeout(() => this.postpone(entry, due), Math.min(Math.ceil(ms), MAX_TIMER_MS));
      return;
    }
    this.again.add(entry);
    this.dispatch();
  }

  /** Soon, so that neither a publisher nor a handler runs inside of another's call. */
  private dispatch(): void {
    if (this.dispatching) return;
    this.dispatching = true;
    queueMicrotask(() => {
      this.dispatching = false;
      this.handOut();
    });
  }

  private handOut(): void {
    for (const source of [this.again, this.fresh]) {
      for (const entry of source) {
        const member = this.nextFree();
        if (!member) return;
        source.delete(entry);
        member.take(entry, inbound(entry));
      }
    }
  }

  /** The members take turns. */
  private nextFree(): MemorySubscription | undefined {
    const index = this.members.findIndex((member) => member.isFree);
    if (index < 0) return undefined;
    const [member] = this.members.splice(index, 1) as [MemorySubscription];
    this.members.push(member);
    return member;
  }
}

function inbound(entry: Entry): InboundMessage {
  const { topic, id, message } = entry;
  const { data, contentType, metadata } = message;
  return { topic, id, attempt: ++entry.attempt, data, contentType, metadata };
}
