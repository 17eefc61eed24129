/** What waits for one partition, and the batch that is on its way there: one at a time, so that the order is kept. */

import { recordSize, type OutboundRecord, type Sender } from './record-batch.ts';

/** One call of `publish`: told of each of its messages. */
export interface Job {
  done(index: number, failure?: Error): void;
}

export interface Waiting extends OutboundRecord {
  readonly job: Job;
  /** Its place in the job. */
  readonly index: number;
  readonly size: number;
  /** On the clock of `performance.now()`. */
  readonly since: number;
}

/** Records that go together, and are sent again as they were: the broker knows them by their sender and numbers. */
export interface Batch {
  readonly waiting: readonly Waiting[];
  attempts: number;
  encoded?: { readonly sender: Sender; readonly bytes: Buffer } | undefined;
}

/** Larger batches save nothing and hold others up. */
const MAX_BATCH_BYTES = 512 * 1024;

export class Accumulator {
  readonly topic: string;
  readonly partition: number;
  private queue: Waiting[] = [];
  /** What has to go before anything else: a batch that failed, or the parts of one that was too large. */
  private readonly again: Batch[] = [];
  /** A batch is on its way, or waits to be sent again. */
  isBusy = false;
  private sequence = 0;
  private sender: Sender | undefined;

  constructor(topic: string, partition: number) {
    this.topic = topic;
    this.partition = partition;
  }

  get isReady(): boolean {
    return !this.isBusy && (this.queue.length > 0 || this.again.length > 0);
  }

  add(record: OutboundRecord, job: Job, index: number): Waiting {
    const { key, value, headers, timestamp } = record;
    const size = recordSize(record);
    const waiting = { key, value, headers, timestamp, job, index, size, since: performance.now() };
    this.queue.push(waiting);
    return waiting;
  }

  take(maxBytes: number): Batch {
    return this.again.shift() ?? { waiting: this.takeQueued(Math.min(maxBytes, MAX_BATCH_BYTES)), attempts: 0 };
  }

  /** The number of the next record among those of the sender. */
  nextSequence(sender: Sender): number {
    if (this.sender !== sender) this.sequence = 0;
    this.sender = sender;
    return this.sequence;
  }

  /** The broker has stored so many. */
  stored(count: number, sender: Sender): void {
    if (this.sender === sender) this.sequence = (this.sequence + count) % 2 ** 31;
  }

  /** To be sent before what came later. */
  putBack(...batches: readonly Batch[]): void {
    this.again.unshift(...batches);
  }

  /** Everything that is not on its way. */
  drain(): Waiting[] {
    const all = [...this.again.flatMap(({ waiting }) => waiting), ...this.queue];
    this.again.length = 0;
    this.queue = [];
    return all;
  }

  private takeQueued(maxBytes: number): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { size } of this.queue) {
      if (count > 0 && bytes + size > maxBytes) break;
      bytes += size;
      count++;
    }
    const taken = this.queue.slice(0, count);
    this.queue = count === this.queue.length ? [] : this.queue.slice(count);
    return taken;
  }
}

/** In halves, because it was too large for the broker. */
export function split({ waiting }: Batch): [Batch, Batch] {
  const middle = Math.ceil(waiting.length / 2);
  return [
    { waiting: waiting.slice(0, middle), attempts: 0 },
    { waiting: waiting.slice(middle), attempts: 0 },
  ];
}
