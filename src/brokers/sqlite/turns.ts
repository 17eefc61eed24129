/**
 * One turn of the database thread: settle, publish, answer calls, hand out messages, all in one transaction. It is
 * synced to the disk when it holds publications; losing anything else to a power cut costs duplicates, no message.
 */

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { GroupStats } from '../../core/broker.ts';
import { messageOf } from '../../core/errors.ts';
import { ownersOf, type Leases } from './leases.ts';
import { claimableAt, createMember, isClaimable, type Member } from './member.ts';
import { patiently } from './patience.ts';
import { pack, SETTLED, type Call, type CallResult, type Delivery } from './protocol.ts';
import type { Reply, Request, Settlement } from './protocol.ts';
import { GroupRemoved, type Claimed, type Store } from './store.ts';

/** What a transaction brought; none of it is true before the commit. */
interface Harvest {
  readonly claims: { readonly member: Member; readonly claimed: readonly Claimed[]; readonly nextDue: number }[];
  readonly rings: Set<number>;
  readonly results: CallResult[];
}

/** What a turn that nobody asked for has to do besides handing out. */
const EMPTY: Request = { publications: [], bytes: new Uint8Array(), settlements: [], calls: [] };

export class Turns {
  /** Whether the last transaction failed: another one should not follow at once. */
  troubled = false;
  private readonly database: DatabaseSync;
  private readonly store: Store;
  private readonly leases: Leases;
  private readonly busyTimeoutMs: number;
  private readonly members = new Map<number, Member>();
  /** Settlements that are not committed. */
  private unsettled: Settlement[] = [];
  private durable = false;
  private readonly begin: StatementSync;
  private readonly commit: StatementSync;
  private readonly wakeTopic: StatementSync;
  private readonly wakeGroup: StatementSync;
  private readonly sleep: StatementSync;
  private readonly selectAsleep: StatementSync;

  constructor(database: DatabaseSync, store: Store, leases: Leases, busyTimeoutMs: number) {
    this.database = database;
    this.store = store;
    this.leases = leases;
    this.busyTimeoutMs = busyTimeoutMs;
    this.begin = database.prepare('BEGIN IMMEDIATE');
    this.commit = database.prepare('COMMIT');
    this.wakeTopic = database.prepare(
      `DELETE FROM waiter WHERE owner_id <> ?
       AND group_id IN (SELECT id FROM consumer_group WHERE topic = ?) RETURNING owner_id`,
    );
    this.wakeGroup = database.prepare('DELETE FROM waiter WHERE owner_id <> ? AND group_id = ? RETURNING owner_id');
    this.sleep = database.prepare('INSERT OR IGNORE INTO waiter (group_id, owner_id) VALUES (?, ?)');
    this.selectAsleep = database.prepare('SELECT group_id FROM waiter WHERE owner_id = ?');
  }

  /** Throws only GroupRemoved: what else failed is in the reply, and the rest of the request is done all the same. */
  run(request: Request = EMPTY): Reply {
    for (const settlement of request.settlements) this.takeBack(settlement);
    const { publications } = request;
    const whole = this.attempt(request);
    // What could not be stored must not hold up what else there is to do.
    const { harvest, error } =
      whole.harvest || publications.length === 0 ? whole : this.attempt({ ...request, publications: [] });
    this.troubled = !harvest;
    if (harvest) this.unsettled = [];
    else this.forgetMembers(request.calls);
    return {
      owner: this.leases.owner,
      ...this.handOut(harvest),
      ...(!harvest && { trouble: error }),
      isAnswer: request !== EMPTY,
      ...(!whole.harvest && { refusal: whole.error }),
      results: harvest?.results ?? request.calls.map(() => ({ error })),
    };
  }

  private attempt(request: Request): { harvest?: Harvest; error: string } {
    try {
      return { harvest: this.transact(request.publications.length > 0, (now) => this.work(request, now)), error: '' };
    } catch (error) {
      if (error instanceof GroupRemoved) throw error;
      return { error: messageOf(error) };
    }
  }

  /** A subscription that was to begin did not; one that was to end gets nothing more all the same. */
  private forgetMembers(calls: readonly Call[]): void {
    for (const call of calls) if ('member' in call) this.members.delete(call.member);
  }

  /** Whether a turn without request would have something to hand out or to settle. */
  get due(): boolean {
    const now = Date.now();
    return this.unsettled.length > 0 || this.members.values().some((member) => isClaimable(member, now));
  }

  /** When it will have, as far as is known now: milliseconds since the epoch. */
  get nextDue(): number {
    let next = Infinity;
    for (const member of this.members.values()) next = Math.min(next, claimableAt(member));
    return next;
  }

  /** Wakes the members whose waiter rows somebody has taken away. */
  wake(): void {
    const asleep = new Set(this.selectAsleep.all(this.leases.owner).map(({ group_id: group }) => group));
    for (const member of this.members.values()) member.awake ||= !asleep.has(member.group);
  }

  /** When the wall clock was set back: what waits is due as if it began to wait now at the latest. */
  limitWaits(): void {
    this.transact(false, (now) => this.store.limitWaits(now));
    for (const member of this.members.values()) member.awake = true;
  }

  /** Runs `work` as one transaction of an owner in good standing. Throws what went wrong, nothing is done then. */
  transact<T>(durable: boolean, work: (now: number) => T): T {
    if (durable !== this.durable) {
      this.database.exec(`PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}`);
      this.durable = durable;
    }
    patiently(this.busyTimeoutMs, () => this.begin.run());
    try {
      if (!this.leases.held) this.leases.register();
      const result = work(Date.now());
      this.commit.run();
      return result;
    } finally {
      if (this.database.isTransaction) this.database.exec('ROLLBACK');
    }
  }

  private takeBack(settlement: Settlement): void {
    this.unsettled.push(settlement);
    const [id, , , , , size] = settlement;
    const member = this.members.get(id);
    if (!member) return;
    member.messages++;
    member.bytes += size;
  }

  private work({ publications, bytes, calls }: Request, now: number): Harvest {
    const harvest: Harvest = { claims: [], rings: new Set(), results: [] };
    const touched = new Set<number>();
    for (const settlement of this.unsettled) {
      this.store.settle(settlement, now);
      const [, group, , , verdict] = settlement;
      if (verdict !== SETTLED && verdict !== Infinity) touched.add(group);
    }
    for (const group of touched) this.rouse(group, harvest);
    this.store.publish(publications, bytes, now);
    const topics = new Set(publications.map(([topic]) => topic));
    for (const topic of topics) this.announce(topic, harvest);
    for (const call of calls) harvest.results.push({ value: this.answer(call, harvest, now) });
    for (const member of this.members.values()) if (isClaimable(member, now)) this.claim(member, harvest, now);
    return harvest;
  }

  private answer(call: Call, harvest: Harvest, now: number): GroupStats | number | undefined {
    switch (call.kind) {
      case 'subscribe':
        this.members.set(call.member, createMember(call, this.store.openGroup(call.topic, call.group)));
        return undefined;
      case 'unsubscribe': {
        const member = this.members.get(call.member);
        this.members.delete(call.member);
        if (member) this.rouse(member.group, harvest);
        return undefined;
      }
      case 'stats':
        return this.store.stats(call.topic, call.group, now);
      case 'unpark': {
        const { group, messages } = this.store.unpark(call.topic, call.group);
        if (group !== undefined) this.rouse(group, harvest);
        return messages;
      }
      case 'beat':
        this.leases.beat();
        return undefined;
      case 'close':
        this.members.clear();
        for (const owner of this.leases.bury(this.leases.owner)) harvest.rings.add(owner);
        return undefined;
    }
  }

  private claim(member: Member, harvest: Harvest, now: number): void {
    const { group, topic, inOrder, messages, bytes } = member;
    const { owner } = this.leases;
    const claimed = inOrder
      ? this.store.claimInOrder(group, topic, owner, now)
      : this.store.claim(group, topic, owner, { messages, bytes }, now);
    const full = claimed.length === messages || sizeOf(claimed) >= bytes;
    if (!full) this.sleep.run(group, owner);
    harvest.claims.push({ member, claimed, nextDue: full ? 0 : this.store.nextDue(group, inOrder, now) });
  }

  /** Something on the topic can be claimed now. */
  private announce(topic: string, harvest: Harvest): void {
    for (const member of this.members.values()) if (member.topic === topic) member.awake = true;
    for (const owner of ownersOf(this.wakeTopic.all(this.leases.owner, topic))) harvest.rings.add(owner);
  }

  /** Something can be claimed for the group, now or later. */
  private rouse(group: number, harvest: Harvest): void {
    for (const member of this.members.values()) if (member.group === group) member.awake = true;
    for (const owner of ownersOf(this.wakeGroup.all(this.leases.owner, group))) harvest.rings.add(owner);
  }

  private handOut(harvest: Harvest | undefined): Pick<Reply, 'deliveries' | 'bytes'> {
    const deliveries: Delivery[] = [];
    const parts: Uint8Array[] = [];
    for (const { member, claimed, nextDue } of harvest?.claims ?? []) {
      member.awake = nextDue === 0;
      member.nextDue = nextDue;
      member.messages -= claimed.length;
      for (const { id, attempt, contentType, metadata, data } of claimed) {
        member.bytes -= data.length;
        deliveries.push([member.id, member.group, id, attempt, contentType, metadata, data.length]);
        parts.push(data);
      }
    }
    for (const owner of harvest?.rings ?? []) this.leases.ring(owner);
    return { deliveries, bytes: pack(parts) };
  }
}

const sizeOf = (claimed: readonly Claimed[]): number => claimed.reduce((sum, { data }) => sum + data.length, 0);
