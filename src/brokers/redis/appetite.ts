/** How much of a topic to have in hand: enough to keep the handlers busy, bounded in messages and bytes. */

export interface Limits {
  /** Handlers of a member at once; with 1 the topic is handled in order. */
  readonly concurrency: number;
  /** What is read ahead, at most. */
  readonly queueDepth: number;
}

/** Read ahead what is handled in this time: more would only be handled twice after a crash. */
const AHEAD_MS = 50;
/** But so many at least: the topics of a reader take equally many, so that a slow one must not want too few. */
const MIN_AHEAD = 10;
/** Payloads beyond which nothing more is read. */
const MAX_BYTES = 32 * 2 ** 20;
/** How much the newest handler counts in the average of their times. */
const WEIGHT = 1 / 16;

export class Appetite {
  private readonly limits: Limits;
  private typicalMs = AHEAD_MS;
  /** Of one payload. Before any was seen they may be large: the first read takes one, each further one twice as many. */
  private expectedBytes = MAX_BYTES;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  /**
   * A read brought payloads of which the largest has so many bytes, 0 where it brought none. Large ones are expected at
   * once and forgotten soon, also where no more come: the topics of a reader take equally many.
   */
  sawBytes(largest: number): void {
    this.expectedBytes = Math.max(largest, this.expectedBytes / 2);
  }

  /** A handler ended. */
  tookMs(ms: number): void {
    this.typicalMs += (ms - this.typicalMs) * WEIGHT;
  }

  /** How many messages `members` may have beside those `inHand`, which have `bytes` of payload. */
  room(members: number, inHand: number, bytes: number): number {
    if (members === 0 || bytes >= MAX_BYTES) return 0;
    const messages = members * this.limits.concurrency + this.readAhead - inHand;
    return Math.min(messages, Math.ceil((MAX_BYTES - bytes) / Math.max(1, this.expectedBytes)));
  }

  /** Whether a read of so many is worth its while: it waits until half of the room is free. */
  isEnough(messages: number): boolean {
    return messages * 2 >= this.limits.concurrency + this.readAhead;
  }

  private get readAhead(): number {
    const { concurrency, queueDepth } = this.limits;
    const handledSoon = Math.ceil((concurrency * AHEAD_MS) / this.typicalMs);
    return Math.min(queueDepth, Math.max(MIN_AHEAD, concurrency, handledSoon));
  }
}
