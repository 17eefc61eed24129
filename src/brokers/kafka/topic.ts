/** The handlers of one topic, and which of its messages they have. */

import type { Handler, InboundMessage, Outcome, Subscription } from '../../core/broker.ts';
import type { Held, Lane } from './lanes.ts';
import type { Partition } from './partition.ts';

/** Makes what a handler gets; rejects when that cannot be, for a schema that is missing. */
export type Present = (partition: Partition, held: Held) => InboundMessage | Promise<InboundMessage>;

interface Run {
  readonly member: Member;
  readonly partition: Partition;
  readonly abort: AbortController;
}

/** One subscription. */
class Member {
  readonly handler: Handler;
  readonly present: Present;
  /** How many messages its handler gathers. */
  readonly batch: number;
  running = 0;
  isLeaving = false;
  isHurried = false;
  onIdle: () => void = () => undefined;

  constructor(handler: Handler, present: Present, batch: number) {
    this.handler = handler;
    this.present = present;
    this.batch = batch;
  }
}

/** After a message could not be made ready for the handler. */
const PRESENT_AGAIN_MS = 5000;

export class Topic {
  readonly name: string;
  private readonly concurrency: number;
  private readonly note: (text: string) => void;
  /** Ends what the topic has with the group; called when the last subscription has closed. */
  private readonly onEmpty: () => Promise<void>;
  private members: Member[] = [];
  private readonly runs = new Map<Held, Run>();
  private ready: Lane[] = [];
  private isDispatching = false;
  isPaused = false;
  /** Its subscriptions have closed: resolves when it has left the group. */
  ending: Promise<void> | undefined;

  constructor(name: string, concurrency: number, note: (text: string) => void, onEmpty: () => Promise<void>) {
    this.name = name;
    this.concurrency = concurrency;
    this.note = note;
    this.onEmpty = onEmpty;
  }

  get running(): number {
    return this.runs.size;
  }

  /** How many messages that belong one after the other may be handled together: as many as one batch takes. */
  get together(): number {
    return Math.max(1, ...this.members.map(({ batch }) => batch));
  }

  join(handler: Handler, present: Present, batch: number): Subscription {
    const member = new Member(handler, present, batch);
    this.members.push(member);
    this.dispatch();
    let closing: Promise<void> | undefined;
    return {
      close: (deadline) => {
        member.isLeaving = true;
        const hurry = (): void => this.hurry(member);
        if (deadline.aborted) hurry();
        else deadline.addEventListener('abort', hurry, { once: true });
        return (closing ??= this.leave(member));
      },
    };
  }

  /** The first message of a lane may be handled. */
  offer(lane: Lane): void {
    this.ready.push(lane);
    this.dispatch();
  }

  resume(): void {
    this.isPaused = false;
    this.dispatch();
  }

  /** Nothing of the partition is ours any more. */
  revoke(partition: Partition): void {
    partition.revoke();
    this.ready = this.ready.filter((lane) => lane.partition !== partition);
    for (const [held, run] of this.runs) if (run.partition === partition) this.abandon(held, run);
    this.dispatch();
  }

  private dispatch(): void {
    if (this.isDispatching) return;
    this.isDispatching = true;
    while (!this.isPaused && this.ready.length > 0) {
      const member = this.freeMember();
      if (!member) break;
      const lane = this.ready.shift() as Lane;
      const [held] = lane.queue;
      if (!held || lane.partition.isRevoked) {
        lane.isListed = false;
        continue;
      }
      // A retry that waits may have come before what was ready.
      if (held.dueAt > Date.now()) lane.partition.relist(lane);
      else if (lane.partition.mayBegin(held)) void this.run(member, held);
      else lane.partition.stall(lane);
    }
    this.isDispatching = false;
  }

  /** The one that has least to do. */
  private freeMember(): Member | undefined {
    let free: Member | undefined;
    for (const member of this.members) {
      if (member.isLeaving || member.running >= Math.max(this.concurrency, member.batch)) continue;
      if (!free || member.running < free.running) free = member;
    }
    return free;
  }

  private async run(member: Member, held: Held): Promise<void> {
    const { partition } = held.lane;
    const abort = new AbortController();
    this.runs.set(held, { member, partition, abort });
    member.running++;
    partition.begin(held);
    let outcome: Outcome;
    try {
      const presented = member.present(partition, held);
      const message = presented instanceof Promise ? await presented : presented;
      outcome = await member.handler(message, abort.signal);
    } catch (error) {
      this.note(`a message of topic ${this.name} cannot be delivered yet: ${(error as Error).message}`);
      outcome = { kind: 'retry', afterMs: PRESENT_AGAIN_MS, uncounted: true };
    }
    if (abort.signal.aborted) return;
    this.runs.delete(held);
    settle(partition, held, outcome);
    this.released(member);
    this.dispatch();
  }

  private released(member: Member): void {
    if (--member.running === 0 && member.isLeaving) member.onIdle();
  }

  private abandon(held: Held, { member, abort }: Run): void {
    this.runs.delete(held);
    abort.abort();
    this.released(member);
  }

  private hurry(member: Member): void {
    member.isHurried = true;
    for (const [held, run] of this.runs) {
      if (run.member !== member) continue;
      this.abandon(held, run);
      run.partition.giveBack(held);
    }
    member.onIdle();
  }

  private async leave(member: Member): Promise<void> {
    if (member.running > 0 && !member.isHurried) {
      await new Promise<void>((resolve) => (member.onIdle = resolve));
    }
    this.members = this.members.filter((one) => one !== member);
    if (this.members.length === 0) await (this.ending ??= this.onEmpty());
  }
}

function settle(partition: Partition, held: Held, outcome: Outcome): void {
  if (outcome.kind === 'retry' && outcome.uncounted) held.attempt--;
  if (outcome.kind !== 'retry') partition.settle(held);
  else if (outcome.afterMs === Infinity) partition.park(held);
  else partition.retry(held, outcome.afterMs);
}
