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
/** How much the newest counts in an average. */
const WEIGHT = 1 / 16;

export class Appetite {
  private readonly limits: Limits;
  private typicalMs = AHEAD_MS;
  private typicalBytes = 0;

  constructor(limits: Limits) {
    this.limits = limits;
  }

  /** A payload came. */
  sawBytes(bytes: number): void {
    this.typicalBytes += (bytes - this.typicalBytes) * WEIGHT;
  }

  /** A handler ended. */
  tookMs(ms: number): void {
    this.typicalMs += (ms - this.typicalMs) * WEIGHT;
  }

  /** How many messages `members` may have beside those `inHand`, which have `bytes` of payload. */
  room(members: number, inHand: number, bytes: number): number {
    if (members === 0 || bytes >= MAX_BYTES) return 0;
    const messages = members * this.limits.concurrency + this.readAhead - inHand;
    return Math.min(messages, Math.ceil((MAX_BYTES - bytes) / Math.max(1, this.typicalBytes)));
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
