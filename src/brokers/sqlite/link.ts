/**
 * The main thread's end of the database thread. What is asked for while a request is on its way goes together in
 * the next one: one message between the threads and one transaction, however much it is. When the thread dies,
 * what it had in hand fails and it is started again.
 */

import { Worker } from 'node:worker_threads';
import { backoffMs, type Backoff } from '../../lib/backoff.ts';
import { MAX_TIMER_MS, unlessAborted } from '../../lib/deadline.ts';
import type { Log } from '../../lib/log.ts';
import { sleep } from '../../lib/sleep.ts';
import type { GroupStats, OutboundMessage } from '../../core/broker.ts';
import { messageOf } from '../../core/errors.ts';
import { Batch } from './batch.ts';
import type { Call, CallResult, Delivery, Reply, Settlement } from './protocol.ts';
import { beatPauseMs, type DatabaseOptions } from './settings.ts';
import { workerEntry } from './worker-entry.ts';

/** How long a request waits for company under load. Alone it goes at once. */
const GATHER_MS = 1;
const NEVER = new AbortController().signal;
const RESTART: Backoff = { initialMs: 50, factor: 2, maxMs: 5_000, jitter: 0.2 };

/** What the link tells the broker. */
export interface LinkListener {
  /** Messages to handle; `owner` is the lease they are under, `bytes` their payloads one after the other. */
  onDeliveries(owner: number, deliveries: readonly Delivery[], bytes: Uint8Array<ArrayBuffer>): void;
  /** Nothing that was delivered so far is ours any more. */
  onLeaseLost(): void;
  /** The thread was started again and knows no subscription. Rejects when it cannot be told. */
  onRestart(): Promise<void>;
}

export class Link {
  private readonly options: DatabaseOptions;
  private readonly log: Log;
  private readonly listener: LinkListener;
  private worker: Worker | undefined;
  private waiting = new Batch();
  private sent: Batch | undefined;
  private gathering: NodeJS.Timeout | undefined;
  private sending: NodeJS.Immediate | undefined;
  private beating: NodeJS.Timeout | undefined;
  private reopening: Promise<void> | undefined;
  private readonly closing = new AbortController();
  private owner = 0;
  private trouble: string | undefined;
  /** How many publishes, and deliveries, the last request brought: about as many come together again. */
  private lastPublishes = 0;
  private lastDeliveries = 0;

  constructor(options: DatabaseOptions, listener: LinkListener, log: Log) {
    this.options = options;
    this.listener = listener;
    this.log = log;
  }

  /** Starts the thread. Rejects when the database cannot be used, saying why, or at once when `signal` aborts. */
  async open(signal: AbortSignal): Promise<void> {
    const worker = new Worker(workerEntry(), {
      workerData: this.options,
      name: 'sqlite',
      execArgv: ['--disable-warning=ExperimentalWarning'],
    });
    const { promise: started, resolve, reject } = Promise.withResolvers<void>();
    let isGivenUp = false;
    // This listener stays: the port of a worker stops when its last one goes.
    worker.on('message', (reply: Reply) => {
      if (isGivenUp) return;
      this.worker ??= worker;
      resolve();
      this.onReply(reply);
    });
    const die = (why: string): void => {
      reject(new Error(why));
      this.onDeath(worker, why);
    };
    worker.once('error', (error) => die(messageOf(error)));
    worker.once('exit', () => die('it ended'));
    const giveUp = (): void => {
      isGivenUp = true;
      die(`database ${this.options.path} does not answer`);
      void worker.terminate();
    };
    await unlessAborted(signal, giveUp, started);
    if (this.options.processingTimeoutMs > 0) {
      const beat = (): void => void this.call({ kind: 'beat' }).catch(() => undefined);
      this.beating = setInterval(beat, Math.min(beatPauseMs(this.options.processingTimeoutMs), MAX_TIMER_MS)).unref();
    }
  }

  /** Resolves when the messages are on the disk, or with why they are not. */
  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<string | undefined> {
    const batch = this.waiting;
    if (!batch.add(topic, messages)) return 'too many messages wait to be stored';
    this.schedule();
    return batch.stored.promise;
  }

  /** Takes effect soon, or never when the thread dies first: the message comes again then. */
  settle(settlement: Settlement): void {
    this.waiting.settlements.push(settlement);
    this.schedule();
  }

  /** Resolves when the transaction with the call is committed. Rejects when it could not be. */
  async call(call: Call): Promise<GroupStats | number | undefined> {
    const caller = Promise.withResolvers<CallResult>();
    this.waiting.calls.push(call);
    this.waiting.callers.push(caller);
    this.schedule();
    const result = await caller.promise;
    if ('error' in result) throw new Error(result.error);
    return result.value;
  }

  /** Resolves when what was asked for so far is done, or has failed. */
  async flush(): Promise<void> {
    await (this.waiting.size > 0 ? this.waiting : this.sent)?.stored.promise;
  }

  /** Waits for what was asked for and ends the thread. */
  async close(): Promise<void> {
    this.closing.abort();
    clearInterval(this.beating);
    await this.reopening;
    const { worker } = this;
    if (!worker) return this.waiting.fail('component is closed');
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    // Also without a last transaction the lock is let go, and siblings take over.
    await this.call({ kind: 'close' }).catch((error: unknown) => this.tell(messageOf(error)));
    await ended;
  }

  private schedule(): void {
    if (this.sent || this.sending || !this.worker || this.waiting.size === 0) return;
    const { calls, publishes, settlements } = this.waiting;
    const ripe =
      calls.length > 0 ||
      (publishes > 0 && publishes >= this.lastPublishes) ||
      (settlements.length > 0 && settlements.length >= this.lastDeliveries);
    if (ripe) this.sending = setImmediate(() => this.send());
    else this.gathering ??= setTimeout(() => this.send(), GATHER_MS);
  }

  private send(): void {
    clearTimeout(this.gathering);
    clearImmediate(this.sending);
    this.gathering = undefined;
    this.sending = undefined;
    if (!this.worker) return;
    const batch = (this.sent = this.waiting);
    this.waiting = new Batch();
    const request = batch.takeRequest();
    this.worker.postMessage(request, [request.bytes.buffer]);
    if (batch.publishes > 0) this.lastPublishes = batch.publishes;
  }

  private onReply({ owner, deliveries, bytes, trouble, isAnswer, refusal, results }: Reply): void {
    if (owner !== this.owner && this.owner !== 0) this.listener.onLeaseLost();
    this.owner = owner;
    this.tell(trouble);
    if (isAnswer) {
      this.sent?.finish(refusal, results);
      this.sent = undefined;
    }
    if (deliveries.length > 0) {
      this.lastDeliveries = deliveries.length;
      this.listener.onDeliveries(owner, deliveries, bytes);
    }
    this.schedule();
  }

  /** Once when it begins, changes, and ends. */
  private tell(trouble: string | undefined): void {
    if (trouble === this.trouble) return;
    if (trouble === undefined) this.log.info(`database ${this.options.path} works again`);
    else this.log.error(`database ${this.options.path} fails, trying again: ${trouble}`);
    this.trouble = trouble;
  }

  private onDeath(worker: Worker, why: string): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    this.owner = 0;
    clearInterval(this.beating);
    const error = `the database thread died: ${why}`;
    this.sent?.fail(error);
    this.sent = undefined;
    if (this.closing.signal.aborted) return this.waiting.fail('component is closed');
    // It was meant for this thread: the next one has other members, and maybe another file with the same numbers.
    this.failWaiting(error);
    this.log.error(`${error}; starting it again`);
    this.listener.onLeaseLost();
    this.reopening ??= this.reopen().finally(() => (this.reopening = undefined));
  }

  private get isUp(): boolean {
    return this.worker !== undefined;
  }

  private failWaiting(error: string): void {
    this.waiting.fail(error);
    this.waiting = new Batch();
  }

  /** Until a thread is there that knows every subscription, or the link is closed. */
  private async reopen(): Promise<void> {
    const { signal } = this.closing;
    for (let attempt = 1; !this.isUp && !signal.aborted; attempt++) {
      await sleep(backoffMs(RESTART, attempt), signal);
      if (signal.aborted) return;
      try {
        await this.open(NEVER);
        await this.listener.onRestart();
      } catch (error) {
        this.failWaiting(messageOf(error));
        this.tell(messageOf(error));
        await this.worker?.terminate();
      }
    }
  }
}
