import type { Handler, InboundMessage, Outcome, Subscription } from '../../core/broker.ts';
import type { Link } from './link.ts';
import { RELEASED, SETTLED, type Delivery } from './protocol.ts';

/** A message that a handler has, and the lease it came under. */
interface Held {
  readonly delivery: Delivery;
  readonly owner: number;
  readonly lease: AbortSignal;
}

/** Has no message. */
const NOBODY = 0;

/** The handlers of one subscription and what they hold. How many there may be is counted by the database thread. */
export class SqliteSubscription implements Subscription {
  readonly topic: string;
  /** The number it goes by in the database thread; another one when that was started again. */
  member = 0;
  /** Whether a database thread ever knew it. */
  hasJoined = false;
  private readonly handler: Handler;
  private readonly link: Link;
  private readonly onEnd: () => void;
  private readonly held = new Set<Held>();
  /** Aborts when what is held is not ours any more; replaced for what comes afterwards. */
  private lease = new AbortController();
  private ending: Promise<void> | undefined;
  private readonly drained = Promise.withResolvers<void>();

  constructor(topic: string, handler: Handler, link: Link, onEnd: () => void) {
    this.topic = topic;
    this.handler = handler;
    this.link = link;
    this.onEnd = onEnd;
  }

  get isOpen(): boolean {
    return !this.ending;
  }

  take(delivery: Delivery, owner: number, message: InboundMessage): void {
    const held = { delivery, owner, lease: this.lease.signal };
    if (this.ending) return this.settle(held, RELEASED, true);
    this.held.add(held);
    void this.handler(message, this.lease.signal).then((outcome) => this.finish(held, outcome));
  }

  loseLease(): void {
    this.lease.abort();
    this.lease = new AbortController();
  }

  close(deadline: AbortSignal): Promise<void> {
    if (deadline.aborted) this.drained.resolve();
    else deadline.addEventListener('abort', () => this.drained.resolve(), { once: true });
    return (this.ending ??= this.end());
  }

  private async end(): Promise<void> {
    // Fails only when the thread died, which ends deliveries just as well.
    await this.link.call({ kind: 'unsubscribe', member: this.member }).catch(() => undefined);
    if (this.held.size > 0) await this.drained.promise;
    for (const held of this.held) this.settle(held, RELEASED);
    this.held.clear();
    this.lease.abort();
    await this.link.flush();
    this.onEnd();
  }

  private finish(held: Held, outcome: Outcome): void {
    if (!this.held.delete(held)) return;
    if (outcome.kind === 'retry') this.settle(held, Math.max(0, outcome.afterMs), outcome.uncounted);
    else this.settle(held, SETTLED);
    if (this.ending && this.held.size === 0) this.drained.resolve();
  }

  /** Without the lease only the room is given back: in a file made anew another message may have the same numbers. */
  private settle({ delivery, owner, lease }: Held, verdict: number, uncounted = false): void {
    const [member, group, message, , , , size] = delivery;
    this.link.settle([member, group, lease.aborted ? NOBODY : owner, message, verdict, size, uncounted]);
  }
}
