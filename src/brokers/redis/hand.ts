/**
 * What this process has in hand of one topic, from the read to the acknowledgement. No command is sent from here:
 * `Topic` does that, told by HandListener.
 */

import type { Outcome } from '../../core/broker.ts';
import { Appetite, type Limits } from './appetite.ts';
import { compareIds, type Entry } from './entry.ts';
import type { Delivered, Held, Member } from './held.ts';
import { postpone, Postponed } from './postponed.ts';

export interface HandListener {
  /** Acknowledge it. */
  onSettled(id: string): void;
  /** Some retries are due; `due` gives them. */
  onDue(): void;
  onParked(held: Held): void;
  /** It is in hand, and the server counts a delivery too many. */
  onUncounted(held: Held): void;
  /** A retry that nobody here will make: for the next owner. It is not in hand any more. */
  onGivenBack(held: Held): void;
  /** There may be room again. */
  onRoom(): void;
}

/** Retries beyond which nothing new is read: each costs its share of the keep-alives. */
const MAX_RETRIES = 10_000;

export class Hand {
  readonly members = new Set<Member>();
  private readonly topic: string;
  private readonly limits: Limits;
  private readonly appetite: Appetite;
  private readonly listener: HandListener;
  private readonly held = new Map<string, Held>();
  private readonly postponed: Postponed;
  /** Queued ones, oldest first. */
  private readonly queue: Held[] = [];
  private running = 0;
  /** Of queued and running ones. */
  private bytes = 0;

  constructor(topic: string, limits: Limits, listener: HandListener) {
    this.topic = topic;
    this.limits = limits;
    this.appetite = new Appetite(limits);
    this.listener = listener;
    this.postponed = new Postponed(() => listener.onDue());
  }

  /** How many entries there is room for that are not in hand yet. */
  get room(): number {
    return this.postponed.count < MAX_RETRIES ? this.free : 0;
  }

  /** How many new entries to read: none until half of the room is free, so that a read is worth its while. */
  get wanted(): number {
    const { room } = this;
    return this.queue.length === 0 || this.appetite.isEnough(room) ? room : 0;
  }

  /** What is read ahead: for the server delivered, for the app not. */
  get unseen(): number {
    return this.queue.filter(({ attempt }) => attempt === 1).length;
  }

  get hasDue(): boolean {
    return this.postponed.hasDue;
  }

  get all(): Held[] {
    return [...this.held.values()];
  }

  find(id: string): Held | undefined {
    return this.held.get(id);
  }

  /** How many entries, of those that the server knows, are parked, or are in any other state. */
  count(parked: boolean): number {
    return this.all.filter(({ state, isForgotten }) => !isForgotten && (state === 'parked') === parked).length;
  }

  /** Takes entries that were read at `now`. One that is in hand already stays as it is, but for one being fetched. */
  take(delivered: readonly Delivered[], now: number): void {
    this.appetite.sawBytes(Math.max(0, ...delivered.map(({ entry }) => entry.data.length)));
    for (const { entry, attempt } of delivered) {
      const held = this.held.get(entry.id);
      if (!held) this.add({ id: entry.id, attempt, touchedAt: now, state: 'settled', dueAt: 0 }, entry);
      else if (held.state === 'fetching') this.resume(held, entry, attempt, now);
      else this.meetAgain(held, now);
    }
    this.pump();
  }

  /** Takes one that was delivered `attempt` times and is to be delivered again after `afterMs`. */
  adopt(id: string, attempt: number, afterMs: number): void {
    const held: Held = { id, attempt, touchedAt: performance.now(), state: 'waiting', dueAt: 0 };
    this.held.set(id, held);
    this.postponed.add(held, afterMs);
  }

  /**
   * The retries that are due and have room, in order; they count as being fetched from now on. Where one holds up all
   * that is read ahead it does not wait for room, which nobody else would make.
   */
  due(): Held[] {
    return this.postponed.fetch(Math.max(this.limits.concurrency === 1 ? 1 : 0, this.free));
  }

  /** They could not be fetched: due again. */
  fetchLater(batch: readonly Held[]): void {
    this.postponed.fetchLater(batch);
  }

  /** Takes it from its handler, to be delivered again as soon as there is room. */
  retryNow(held: Held): void {
    this.stop(held);
    this.postponed.add(held, 0);
  }

  /** It is not ours any more. Its handler is told; what becomes of that is of no interest. */
  lose(held: Held): void {
    if (this.held.get(held.id) !== held) return;
    this.stop(held);
    this.held.delete(held.id);
    this.pump();
  }

  /** Starts handlers as long as there are messages for them. */
  pump(): void {
    while (this.queue.length > 0 && !(this.limits.concurrency === 1 && this.postponed.count > 0)) {
      const member = this.freeMember();
      if (!member) break;
      this.start(this.queue[0] as Held, member);
    }
    this.listener.onRoom();
  }

  private get free(): number {
    let active = 0;
    for (const { leaving } of this.members) if (!leaving) active++;
    return this.appetite.room(active, this.queue.length + this.running + this.postponed.fetching, this.bytes);
  }

  private add(held: Held, entry: Entry): void {
    this.held.set(held.id, held);
    this.enqueue(held, entry);
  }

  private resume(held: Held, entry: Entry, attempt: number, now: number): void {
    this.uncount(held);
    held.attempt = Math.max(attempt, held.attempt + 1);
    held.touchedAt = now;
    this.enqueue(held, entry);
  }

  /** The server has forgotten that we had it. */
  private meetAgain(held: Held, now: number): void {
    held.touchedAt = now;
    held.isForgotten = false;
    if (held.state === 'settled') this.listener.onSettled(held.id);
  }

  /** Mostly the newest; what was claimed or is tried again goes to its place by age. */
  private enqueue(held: Held, entry: Entry): void {
    held.state = 'queued';
    held.entry = entry;
    this.bytes += entry.data.length;
    let at = this.queue.length;
    while (at > 0 && compareIds((this.queue[at - 1] as Held).id, held.id) > 0) at--;
    this.queue.splice(at, 0, held);
  }

  private start(held: Held, member: Member): void {
    const { id, data, metadata } = held.entry as Entry;
    const abort = new AbortController();
    this.queue.shift();
    this.running++;
    held.state = 'running';
    held.abort = abort;
    member.running.add(held);
    const began = performance.now();
    const message = { topic: this.topic, id, attempt: held.attempt, contentType: '', metadata, data };
    void member.handler(message, abort.signal).then((outcome) => {
      this.appetite.tookMs(performance.now() - began);
      this.finish(held, abort, outcome, member);
    });
  }

  private finish(held: Held, abort: AbortController, outcome: Outcome, member: Member): void {
    if (held.state !== 'running' || held.abort !== abort) return;
    this.uncount(held);
    this.settle(held, outcome);
    member.ended(held);
    this.pump();
  }

  private settle(held: Held, outcome: Outcome): void {
    if (outcome.kind !== 'retry') {
      held.state = 'settled';
      held.entry = undefined;
      this.listener.onSettled(held.id);
      return;
    }
    if (outcome.uncounted) held.attempt--;
    if ([...this.members].every(({ leaving }) => leaving)) {
      this.held.delete(held.id);
      if (outcome.afterMs < Infinity) postpone(held, outcome.afterMs);
      return this.listener.onGivenBack(held);
    }
    if (outcome.afterMs === Infinity) {
      held.state = 'parked';
      held.entry = undefined;
      this.listener.onParked(held);
    } else {
      this.postponed.add(held, outcome.afterMs);
    }
    if (outcome.uncounted) this.listener.onUncounted(held);
  }

  /** Takes it out of wherever it is. */
  private stop(held: Held): void {
    this.uncount(held);
    const { state } = held;
    held.state = 'settled'; // nothing that is on its way for it means it any more
    if (state === 'queued') this.queue.splice(this.queue.indexOf(held), 1);
    if (state !== 'running') return;
    for (const member of this.members) member.ended(held);
    held.abort?.abort();
  }

  /** Takes it out of the counts of its state. */
  private uncount(held: Held): void {
    const { state, entry } = held;
    if (state === 'running') this.running--;
    if (state === 'queued' || state === 'running') this.bytes -= entry?.data.length ?? 0;
    if (state === 'waiting' || state === 'due' || state === 'fetching') this.postponed.remove(held);
  }

  private freeMember(): Member | undefined {
    let best: Member | undefined;
    for (const member of this.members) {
      const { leaving, running } = member;
      if (leaving || running.size >= this.limits.concurrency) continue;
      if (!best || running.size < best.running.size) best = member;
    }
    return best;
  }
}
