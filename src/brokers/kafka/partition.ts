/**
 * What is in hand of one partition: messages in lanes, one behind the other, and which of them are settled. The offset
 * to commit never passes a message that is not.
 */

import type { Unsettled, Note } from './note.ts';
import { writeNote } from './note.ts';
import type { Decoded, InboundRecord } from './record-batch.ts';

/** A message that is not settled. */
export interface Held extends Unsettled {
  attempt: number;
  dueAt: number;
  /** Gone while it is parked. */
  record: InboundRecord | undefined;
  lane: Lane;
}

/** Messages that are handled one after the other, or batch after batch. */
export interface Lane {
  readonly key: string;
  readonly partition: Partition;
  /** What no handler has, in the order of offsets. */
  readonly queue: Held[];
  /** How many of its messages handlers have. */
  running: number;
  /** Its first message waits for a handler or for its time. */
  isListed: boolean;
  timer?: NodeJS.Timeout;
}

export interface PartitionOptions {
  readonly ordering: 'key' | 'partition' | 'none';
  /** Messages to read ahead. */
  readonly readAhead: number;
  /** How many messages of a lane may be handled together. */
  readonly together: () => number;
  /** The first message of a lane may be handled now. */
  readonly onReady: (lane: Lane) => void;
  /** Something was settled. */
  readonly onSettled: () => void;
  /** A commit would tell something new. */
  readonly onChange: () => void;
  /** There is room again for more to be read, after there was none. */
  readonly onRoom: () => void;
}

/** Bytes to read ahead, at most. */
const MAX_BYTES = 4 * 2 ** 20;
/** Messages in hand that were delivered, at most: so many have room in a note. */
const MAX_OPEN = 220;
/** Behind messages that wait for their time more may be read, to find others: so many times as many. */
const BEHIND_WAITING = 16;
const MAX_TIMER_MS = 2 ** 31 - 1;

export class Partition {
  readonly topic: string;
  readonly id: number;
  /** The next offset to read. */
  position: number;
  /** Nothing is to be read before, on the clock of `performance.now()`. */
  restsUntil = 0;
  isRevoked = false;
  /** Whether the broker may have more than it gave us. */
  isBehind = true;
  /** Grows with everything that a commit would tell. */
  version = 0;
  committedVersion = 0;
  private readonly options: PartitionOptions;
  /** In the order of their offsets. */
  private readonly held = new Map<number, Held>();
  private readonly lanes = new Map<string, Lane>();
  /** Lanes that have to wait until less is open. */
  private stalled: Lane[] = [];
  private before: Note | undefined;
  private until: number;
  private openCount = 0;
  private waitingCount = 0;
  private isFull = false;
  /** Of what is in hand. */
  bytes = 0;

  constructor(topic: string, id: number, offset: number, note: Note | undefined, options: PartitionOptions) {
    this.topic = topic;
    this.id = id;
    this.position = offset;
    this.before = note;
    this.until = note?.until ?? offset;
    this.options = options;
  }

  get wantsMore(): boolean {
    this.isFull = !this.hasRoom;
    return !this.isFull && performance.now() >= this.restsUntil && !this.isRevoked;
  }

  private get hasRoom(): boolean {
    const { readAhead } = this.options;
    const limit = this.waitingCount > 0 ? readAhead * BEHIND_WAITING : readAhead;
    return this.held.size - this.openCount < limit && this.bytes < MAX_BYTES;
  }

  /** Takes what a read from `from` brought. */
  take(from: number, { records, nextOffset }: Decoded): void {
    if (this.isRevoked || from !== this.position) return;
    this.isBehind = nextOffset > from;
    for (const record of records) {
      const known = this.before?.open.get(record.offset);
      if (this.before && record.offset < this.before.until && !known) continue;
      this.hold(record, known);
    }
    this.position = nextOffset;
    if (this.before && this.position >= this.before.until) {
      this.before = undefined;
      this.changed();
    }
  }

  /** Goes on elsewhere, because what was to be read is gone. */
  jump(from: number, to: number): void {
    if (from !== this.position) return;
    this.position = to;
    this.before = undefined;
    this.until = to;
    this.changed();
  }

  private changed(): void {
    this.version++;
    this.options.onChange();
    if (!this.isFull || !this.hasRoom) return;
    this.isFull = false;
    this.options.onRoom();
  }

  /** Whether a message may be delivered that was not before. */
  mayBegin({ attempt }: Held): boolean {
    return attempt > 0 || this.openCount < MAX_OPEN;
  }

  stall(lane: Lane): void {
    this.stalled.push(lane);
  }

  /** A handler gets the first of a lane. */
  begin(held: Held): void {
    const { lane } = held;
    lane.queue.shift();
    lane.running++;
    lane.isListed = false;
    if (held.attempt++ === 0) this.openCount++;
    this.until = Math.max(this.until, held.offset + 1);
    this.changed();
    this.next(lane);
  }

  /** It is settled for good. */
  settle(held: Held): void {
    this.forget(held);
    this.held.delete(held.offset);
    this.openCount--;
    this.changed();
    this.options.onSettled();
    this.ended(held.lane);
    const { stalled } = this;
    this.stalled = [];
    for (const lane of stalled) this.options.onReady(lane);
  }

  /** It comes again, not before `afterMs` from now. */
  retry(held: Held, afterMs: number): void {
    held.dueAt = afterMs > 0 ? Date.now() + afterMs : 0;
    // What waits long must not keep the bytes of everything that was read with it.
    if (afterMs > 0 && held.record) held.record = held.record.copy();
    this.requeue(held);
    this.ended(held.lane);
    this.changed();
  }

  park(held: Held): void {
    this.forget(held);
    held.dueAt = Infinity;
    held.record = undefined;
    this.changed();
    this.ended(held.lane);
  }

  get parked(): Held[] {
    return [...this.held.values()].filter(({ dueAt, record }) => dueAt === Infinity && !record);
  }

  /** Delivers a parked message again; without its record it has gone from the topic and is settled. */
  unpark(held: Held, record: InboundRecord | undefined): void {
    if (this.isRevoked || held.dueAt !== Infinity) return;
    held.dueAt = 0;
    if (!record) {
      this.held.delete(held.offset);
      this.openCount--;
      return this.changed();
    }
    held.record = record;
    this.bytes += record.size;
    held.lane = this.laneOf(record);
    this.requeue(held);
    this.changed();
    this.next(held.lane);
  }

  /** Somebody else's from now on. */
  revoke(): void {
    this.isRevoked = true;
    for (const { lane } of this.held.values()) clearTimeout(lane.timer);
  }

  /** What to commit. */
  get commit(): { readonly offset: number; readonly metadata: string } {
    const offset = this.watermark;
    return { offset, metadata: writeNote(offset, this.until, this.open()) };
  }

  /** Everything before it is settled. */
  get watermark(): number {
    for (const { offset } of this.open()) return offset;
    return this.before ? this.before.until : this.position;
  }

  /** How it stands, its end being at `end`. */
  figures(end: number): Figures {
    const open = [...this.open()];
    const pending = open.filter(({ attempt }) => attempt > 0).length;
    const [first] = this.held.values();
    return {
      lag: Math.max(0, end - Math.max(this.position, this.before?.until ?? 0)) + open.length - pending,
      pending,
      parked: open.filter(({ dueAt }) => dueAt === Infinity).length,
      oldestOffset: this.watermark,
      oldestTimestamp: first?.record?.timestamp,
    };
  }

  private *open(): Iterable<Unsettled> {
    yield* this.held.values();
    for (const one of this.before?.open.values() ?? []) if (one.offset >= this.position) yield one;
  }

  private hold(record: InboundRecord, known: Unsettled | undefined): void {
    const lane = this.laneOf(record);
    const { attempt = 0, dueAt = 0 } = known ?? {};
    // What its last owner had parked comes again.
    const held: Held = { offset: record.offset, attempt, dueAt: dueAt === Infinity ? 0 : dueAt, record, lane };
    if (attempt > 0) this.openCount++;
    this.held.set(record.offset, held);
    this.bytes += record.size;
    lane.queue.push(held);
    this.next(lane);
  }

  private laneOf(record: InboundRecord): Lane {
    const { ordering } = this.options;
    const key = ordering === 'key' ? record.key : null;
    const name = key ? `k${key.toString('latin1')}` : '';
    const lane = this.lanes.get(name) ?? { key: name, partition: this, queue: [], running: 0, isListed: false };
    if (ordering !== 'none') this.lanes.set(name, lane);
    return lane;
  }

  /** Into its lane, at its place. */
  private requeue(held: Held): void {
    const { queue } = held.lane;
    const place = queue.findIndex(({ offset }) => offset > held.offset);
    queue.splice(place < 0 ? queue.length : place, 0, held);
  }

  private forget({ record }: Held): void {
    if (record) this.bytes -= record.size;
  }

  private ended(lane: Lane): void {
    lane.running--;
    this.next(lane);
  }

  /** The lane goes on with its first message, unless it has enough to do. */
  private next(lane: Lane): void {
    const [first] = lane.queue;
    if (!first && lane.running === 0 && this.lanes.get(lane.key) === lane) this.lanes.delete(lane.key);
    if (!first || lane.isListed || this.isRevoked || lane.running >= this.options.together()) return;
    lane.isListed = true;
    const waitMs = first.dueAt - Date.now();
    if (waitMs <= 0) return this.options.onReady(lane);
    this.waitingCount++;
    const go = (): void => {
      this.waitingCount--;
      lane.isListed = false;
      this.next(lane);
    };
    lane.timer = setTimeout(go, Math.min(waitMs, MAX_TIMER_MS));
  }

  /** The handler that has it was given up. */
  giveBack(held: Held): void {
    held.dueAt = 0;
    this.requeue(held);
    this.ended(held.lane);
  }
}

export interface Figures {
  readonly lag: number;
  readonly pending: number;
  readonly parked: number;
  /** The first that is not settled. */
  readonly oldestOffset: number;
  /** Milliseconds since 1970, where it is at hand. */
  readonly oldestTimestamp: number | undefined;
}
