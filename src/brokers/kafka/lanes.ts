/** Messages of one partition in lanes: those of a lane are handled one behind the other, lanes beside each other. */

import type { Unsettled } from './note.ts';
import type { Partition } from './partition.ts';
import type { InboundRecord } from './record-batch.ts';
import { MAX_TIMER_MS } from '../../lib/deadline.ts';

/** A message that is not settled. */
export interface Held extends Unsettled {
  attempt: number;
  dueAt: number;
  /** A handler had it. */
  isOpen: boolean;
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
  /** It waits for the time of its first message. */
  timer?: NodeJS.Timeout | undefined;
}

export interface LaneOptions {
  readonly ordering: 'key' | 'partition' | 'none';
  /** How many messages of a lane may be handled together. */
  readonly together: () => number;
  /** The first message of a lane may be handled now. */
  readonly onReady: (lane: Lane) => void;
}

export class Lanes {
  private readonly partition: Partition;
  private readonly options: LaneOptions;
  private readonly byKey = new Map<string, Lane>();
  /** Lanes that have to wait until less is open. */
  private stalled: Lane[] = [];
  /** How many wait for the time of their first message. */
  waiting = 0;

  constructor(partition: Partition, options: LaneOptions) {
    this.partition = partition;
    this.options = options;
  }

  /** Where a record belongs. */
  of(record: InboundRecord): Lane {
    const { ordering } = this.options;
    const bytes = ordering === 'key' ? record.key : null;
    const key = bytes ? `k${bytes.toString('latin1')}` : '';
    const lane = this.byKey.get(key) ?? {
      key,
      partition: this.partition,
      queue: [],
      running: 0,
      isListed: false,
    };
    if (ordering !== 'none') this.byKey.set(key, lane);
    return lane;
  }

  /** Into its lane behind all others, which it must be. */
  append(held: Held): void {
    held.lane.queue.push(held);
    this.next(held.lane);
  }

  /** Into its lane, at its place; `next` says what then. */
  insert(held: Held): void {
    const { queue } = held.lane;
    const place = queue.findIndex(({ offset }) => offset > held.offset);
    queue.splice(place < 0 ? queue.length : place, 0, held);
    if (place === 0) this.wake(held.lane);
  }

  /** What the lane waits for was meant for another message. */
  private wake(lane: Lane): void {
    if (lane.timer) this.stopWaiting(lane);
    else if (this.stalled.includes(lane)) this.stalled = this.stalled.filter((one) => one !== lane);
    else return;
    lane.isListed = false;
  }

  private stopWaiting(lane: Lane): void {
    clearTimeout(lane.timer);
    lane.timer = undefined;
    this.waiting--;
  }

  /** A handler gets the first of the lane; `next` says what then. */
  shift(lane: Lane): void {
    lane.queue.shift();
    lane.running++;
    lane.isListed = false;
  }

  /** A handler has ended. */
  ended(lane: Lane): void {
    lane.running--;
    this.next(lane);
  }

  stall(lane: Lane): void {
    this.stalled.push(lane);
  }

  /** Less is open. */
  resume(): void {
    if (this.stalled.length === 0) return;
    const { stalled } = this;
    this.stalled = [];
    for (const lane of stalled) this.options.onReady(lane);
  }

  /** The lane goes on with its first message, unless it has enough to do. */
  next(lane: Lane): void {
    const [first] = lane.queue;
    if (!first && lane.running === 0 && this.byKey.get(lane.key) === lane) this.byKey.delete(lane.key);
    if (!first || lane.isListed || this.partition.isRevoked || lane.running >= this.options.together()) return;
    lane.isListed = true;
    const waitMs = first.dueAt === 0 ? 0 : first.dueAt - Date.now();
    if (waitMs <= 0) return this.options.onReady(lane);
    this.waiting++;
    const go = (): void => {
      this.stopWaiting(lane);
      lane.isListed = false;
      this.next(lane);
    };
    lane.timer = setTimeout(go, Math.min(waitMs, MAX_TIMER_MS));
  }
}
