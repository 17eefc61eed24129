/**
 * What is in hand of one partition: messages in lanes, one behind the other, and which of them are settled. The offset
 * to commit never passes a message that is not.
 */

import { Lanes, type Held, type Lane, type LaneOptions } from './lanes.ts';
import { writeNote, type Note, type Unsettled } from './note.ts';
import type { Decoded, InboundRecord } from './record-batch.ts';

export interface PartitionOptions extends LaneOptions {
  /** Of the topic, where the brokers tell it. */
  readonly topicId: string | undefined;
  /** Messages to read ahead. */
  readonly readAhead: number;
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

export class Partition {
  readonly topic: string;
  readonly topicId: string | undefined;
  readonly id: number;
  /** The next offset to read. */
  position: number;
  /** Nothing is to be read before, on the clock of `performance.now()`. */
  restsUntil = 0;
  isRevoked = false;
  /** Whether the broker has more than it gave us. */
  isBehind = true;
  /** Grows with everything that a commit would tell. */
  version = 0;
  committedVersion = 0;
  private readonly options: PartitionOptions;
  /** In the order of their offsets. */
  private readonly held = new Map<number, Held>();
  private readonly lanes: Lanes;
  private before: Note | undefined;
  private until: number;
  private openCount = 0;
  private isFull = false;
  /** Of what is in hand. */
  bytes = 0;

  constructor(topic: string, id: number, offset: number, note: Note | undefined, options: PartitionOptions) {
    this.topic = topic;
    this.topicId = options.topicId;
    this.id = id;
    this.position = offset;
    this.before = note;
    this.until = note?.until ?? offset;
    this.options = options;
    this.lanes = new Lanes(this, options);
  }

  get wantsMore(): boolean {
    this.isFull = !this.hasRoom;
    return !this.isFull && performance.now() >= this.restsUntil && !this.isRevoked;
  }

  private get hasRoom(): boolean {
    const { readAhead } = this.options;
    const limit = this.lanes.waiting > 0 ? readAhead * BEHIND_WAITING : readAhead;
    return this.held.size - this.openCount < limit && this.bytes < MAX_BYTES;
  }

  /** Takes what a read from `from` brought. */
  take(from: number, { records, nextOffset }: Decoded): void {
    if (this.isRevoked || from !== this.position) return;
    for (const record of records) {
      const known = this.before?.open.get(record.offset);
      if (this.before && record.offset < this.before.until && !known) continue;
      this.hold(record, known);
    }
    this.goOn(nextOffset);
    if (records.length === 0 && nextOffset > from) this.changed();
  }

  /** Goes on further behind, because what is before it is gone. */
  jump(from: number, to: number): void {
    if (from !== this.position) return;
    this.goOn(to);
    this.until = Math.max(this.until, to);
    this.changed();
  }

  private goOn(offset: number): void {
    this.position = offset;
    if (!this.before || offset < this.before.until) return;
    this.before = undefined;
    this.changed();
  }

  /** A commit would tell something new. */
  changed(): void {
    this.version++;
    this.options.onChange();
    if (!this.isFull || !this.hasRoom) return;
    this.isFull = false;
    this.options.onRoom();
  }

  /** Whether a message may be delivered that was not before. */
  mayBegin({ isOpen }: Held): boolean {
    return isOpen || this.openCount < MAX_OPEN;
  }

  stall(lane: Lane): void {
    this.lanes.stall(lane);
  }

  /** The first of a lane that was ready is another one now. */
  relist(lane: Lane): void {
    lane.isListed = false;
    this.lanes.next(lane);
  }

  /** A handler gets the first of a lane. */
  begin(held: Held): void {
    const { lane } = held;
    this.lanes.shift(lane);
    if (!held.isOpen) this.openCount++;
    held.isOpen = true;
    held.attempt++;
    this.until = Math.max(this.until, held.offset + 1);
    this.changed();
    this.lanes.next(lane);
  }

  /** It is settled for good. */
  settle(held: Held): void {
    this.forget(held);
    this.held.delete(held.offset);
    this.openCount--;
    this.changed();
    this.options.onSettled();
    this.lanes.ended(held.lane);
    this.lanes.resume();
  }

  /** It comes again, not before `afterMs` from now. */
  retry(held: Held, afterMs: number): void {
    held.dueAt = afterMs > 0 ? Date.now() + afterMs : 0;
    // What waits long must not keep the bytes of everything that was read with it.
    if (afterMs > 0 && held.record) held.record = held.record.copy();
    this.lanes.insert(held);
    this.lanes.ended(held.lane);
    this.changed();
  }

  park(held: Held): void {
    this.forget(held);
    held.dueAt = Infinity;
    held.record = undefined;
    this.changed();
    this.lanes.ended(held.lane);
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
      this.changed();
      return this.lanes.resume();
    }
    held.record = record;
    this.bytes += record.size;
    held.lane = this.lanes.of(record);
    this.lanes.insert(held);
    this.changed();
    this.lanes.next(held.lane);
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
    const pending = this.openCount + this.ahead().filter(({ attempt }) => attempt > 0).length;
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
    yield* this.ahead();
  }

  /** What the note of the last owner says of messages that were not read yet. */
  private ahead(): Unsettled[] {
    return [...(this.before?.open.values() ?? [])].filter(({ offset }) => offset >= this.position);
  }

  private hold(record: InboundRecord, known: Unsettled | undefined): void {
    const lane = this.lanes.of(record);
    const { attempt = 0, dueAt = 0 } = known ?? {};
    // What its last owner had parked comes again.
    const isOpen = attempt > 0;
    const held: Held = { offset: record.offset, attempt, dueAt: dueAt === Infinity ? 0 : dueAt, isOpen, record, lane };
    if (isOpen) this.openCount++;
    this.held.set(record.offset, held);
    this.bytes += record.size;
    this.lanes.append(held);
  }

  private forget({ record }: Held): void {
    if (record) this.bytes -= record.size;
  }

  /** The handler that has it was given up. */
  giveBack(held: Held): void {
    held.dueAt = 0;
    this.lanes.insert(held);
    this.lanes.ended(held.lane);
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
