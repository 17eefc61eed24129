/** What a subscription has in hand of one stream: what it was sent and has not acknowledged. */

import type { GroupStats, Handler, Outcome } from '../../core/broker.ts';
import type { Attempts } from './attempts.ts';
import type { Pulled } from './pulled.ts';
import { MAX_TIMER_MS } from '../../lib/deadline.ts';

/** A message that is not settled. */
interface Held {
  readonly pulled: Pulled;
  /** The component's id, or one of our own where it gave none. */
  readonly id: string;
  readonly since: number;
  attempt: number;
  timer?: NodeJS.Timeout;
  abort?: AbortController;
}

export interface HandOptions {
  readonly handler: Handler;
  readonly concurrency: number;
  /** The topic of messages that name none. */
  readonly topic: string;
  readonly attempts: Attempts;
  /** To be acknowledged. */
  readonly onSettled: (pulled: Pulled) => void;
  /** How much is in hand has changed. */
  readonly onChange: () => void;
}

/** Beyond these nothing more is read. */
const MAX_MESSAGES = 1000;
const MAX_BYTES = 32 * 2 ** 20;

export class Hand {
  private readonly options: HandOptions;
  private readonly held = new Set<Held>();
  private readonly byId = new Map<string, Held>();
  private readonly fresh = new Set<Held>();
  /** To be delivered again now, before what is fresh. */
  private readonly again = new Set<Held>();
  private readonly running = new Set<Held>();
  private readonly parked = new Set<Held>();
  private bytes = 0;
  private nameless = 0;
  private leaving = false;
  private idle: (() => void) | undefined;

  constructor(options: HandOptions) {
    this.options = options;
  }

  get isFull(): boolean {
    return this.held.size >= MAX_MESSAGES || this.bytes >= MAX_BYTES;
  }

  get isBusy(): boolean {
    return this.running.size > 0;
  }

  /** One that is in hand already is the same again: the component lost patience. Other bytes are another message. */
  take(pulled: Pulled): void {
    if (this.leaving || isSame(this.byId.get(pulled.id)?.pulled, pulled)) return;
    const { attempts } = this.options;
    const id = pulled.id || `nameless-${++this.nameless}`;
    const held: Held = { pulled, id, since: performance.now(), attempt: attempts.recall(pulled) };
    this.held.add(held);
    this.fresh.add(held);
    if (pulled.id !== '') this.byId.set(pulled.id, held);
    this.bytes += pulled.data.length;
    this.pump();
  }

  unpark(): number {
    const count = this.parked.size;
    for (const held of this.parked) this.again.add(held);
    this.parked.clear();
    this.pump();
    return count;
  }

  stats(): GroupStats {
    const [oldest] = this.held;
    return {
      lag: this.fresh.size,
      pending: this.held.size - this.fresh.size,
      parked: this.parked.size,
      oldestUnsettledMs: oldest ? performance.now() - oldest.since : 0,
    };
  }

  /** Starts no handler any more. Resolves when those that run have ended, or `deadline` aborts; nothing is in hand then. */
  async leave(deadline: AbortSignal): Promise<void> {
    this.leaving = true;
    if (this.isBusy && !deadline.aborted) {
      await new Promise<void>((resolve) => {
        this.idle = resolve;
        deadline.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    this.lose();
  }

  /** The stream has ended: the component hands all of it out again, to whomever. */
  lose(): void {
    for (const held of this.held) {
      clearTimeout(held.timer);
      this.options.attempts.remember(held.pulled, held.attempt);
      held.abort?.abort();
    }
    for (const set of [this.held, this.byId, this.fresh, this.again, this.running, this.parked]) set.clear();
    this.bytes = 0;
    this.idle?.();
  }

  private pump(): void {
    for (const source of [this.again, this.fresh]) {
      for (const held of source) {
        if (this.leaving || this.running.size >= this.options.concurrency) return;
        source.delete(held);
        this.start(held);
      }
    }
  }

  private start(held: Held): void {
    const { pulled, id } = held;
    const { handler, topic } = this.options;
    const abort = new AbortController();
    held.abort = abort;
    held.attempt++;
    this.running.add(held);
    const { data, contentType, topic: own } = pulled;
    const message = { topic: own || topic, id, attempt: held.attempt, data, contentType, metadata: metadataOf(pulled) };
    void handler(message, abort.signal).then((outcome) => this.finish(held, abort, outcome));
  }

  private finish(held: Held, abort: AbortController, outcome: Outcome): void {
    if (held.abort !== abort || !this.running.delete(held)) return;
    if (outcome.kind === 'retry' && outcome.uncounted) held.attempt--;
    if (outcome.kind !== 'retry') this.settle(held);
    else if (outcome.afterMs === Infinity) this.parked.add(held);
    else this.postpone(held, performance.now() + outcome.afterMs);
    if (this.running.size === 0) this.idle?.();
    this.pump();
    this.options.onChange();
  }

  private settle(held: Held): void {
    const { id, data } = held.pulled;
    this.held.delete(held);
    if (this.byId.get(id) === held) this.byId.delete(id);
    this.bytes -= data.length;
    this.options.onSettled(held.pulled);
  }

  /** Looks at the clock itself, since timers count from the start of the current tick and so come early. */
  private postpone(held: Held, due: number): void {
    const ms = due - performance.now();
    if (ms > 0) {
      held.timer = setTimeout(() => this.postpone(held, due), Math.min(Math.ceil(ms), MAX_TIMER_MS));
      return;
    }
    this.again.add(held);
    this.pump();
  }
}

const isSame = (one: Pulled | undefined, other: Pulled): boolean =>
  one !== undefined && one.topic === other.topic && Buffer.compare(one.data, other.data) === 0;

/** With the content type where Dapr has it (contract 4.7). */
function metadataOf({ metadata, contentType }: Pulled): Readonly<Record<string, string>> {
  return contentType === '' ? metadata : { 'content-type': contentType, ...metadata };
}
