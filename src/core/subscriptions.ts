/** The running set of subscriptions: made to agree with what is wanted, retried until they open, closed together or by component. */

import { backoffMs, type Backoff } from '../lib/backoff.ts';
import type { Log } from '../lib/log.ts';
import { sleep } from '../lib/sleep.ts';
import type { Handler, Subscription } from './broker.ts';
import { messageOf } from './errors.ts';
import type { PubSub, PubSubs } from './publisher.ts';
import type { Recipient } from './recipient.ts';
import type { SubscriptionSpec } from './subscription.ts';

/**
 * Makes the handler of a spec. Rejects when the spec itself is wrong (a rule that is no CEL). `closing` aborts when its
 * subscription takes no messages any more and waits for those in hand.
 */
export type CreateHandler = (
  spec: SubscriptionSpec,
  pubsub: PubSub,
  recipient: Recipient,
  closing: AbortSignal,
) => Promise<Handler>;

const OPEN_BACKOFF: Backoff = { initialMs: 500, factor: 1.5, maxMs: 60_000, jitter: 0.5 };

/** One spec on its way to, or in, the running state. */
interface Running {
  readonly spec: SubscriptionSpec;
  readonly cancel: AbortController;
  handler?: Handler;
  subscription?: Subscription;
  /** Ends when the retrying in the background has ended. */
  opening: Promise<void>;
}

const keyOf = (spec: SubscriptionSpec): string => JSON.stringify(spec);

export class Subscriptions {
  /** The app's, by everything that their specs say. */
  private readonly running = new Map<string, Running>();
  /** Those whose caller closes them. */
  private readonly single = new Set<Running>();
  /** Those of the app that wait for their component. */
  private unloaded: ReadonlySet<string> = new Set();
  private readonly pubSubs: PubSubs;
  private readonly createHandler: CreateHandler;
  private readonly log: Log;
  private closed = false;

  constructor(pubSubs: PubSubs, createHandler: CreateHandler, log: Log) {
    this.pubSubs = pubSubs;
    this.createHandler = createHandler;
    this.log = log;
  }

  /**
   * Makes the app's subscriptions those of `specs` whose component is loaded: what is not wanted any more is closed,
   * what runs unchanged is left alone. Resolves when each new one is open or has failed once; those that failed are
   * tried again in the background for ever. Not to be called again before it has resolved.
   */
  async reconcile(specs: readonly SubscriptionSpec[], recipient: Recipient, deadline: AbortSignal): Promise<void> {
    const wanted = new Map(
      specs.filter(({ pubsubName }) => this.pubSubs.has(pubsubName)).map((spec) => [keyOf(spec), spec]),
    );
    const leaving = [...this.running].filter(([key]) => !wanted.has(key));
    for (const [key] of leaving) this.running.delete(key);
    await Promise.all(leaving.map(([, one]) => end(one, deadline)));
    const added = [...wanted].filter(([key]) => !this.running.has(key) && !this.closed);
    const opened = await Promise.all(added.map(([key, spec]) => this.start(key, spec, recipient)));
    this.tell(added.filter((_, index) => opened[index]).map(([, spec]) => spec));
    this.tellUnloaded(specs.filter(({ pubsubName }) => !this.pubSubs.has(pubsubName)));
  }

  /** Opens one spec or rejects saying why; the caller closes it. For a recipient that waits for the answer. */
  async openOne(spec: SubscriptionSpec, recipient: Recipient): Promise<Subscription> {
    if (this.closed) throw new Error('subscriber is closed');
    const one: Running = { spec, cancel: new AbortController(), opening: Promise.resolve() };
    this.single.add(one);
    try {
      await this.tryOpen(one, recipient);
    } catch (error) {
      this.single.delete(one);
      throw error;
    }
    return {
      close: async (deadline) => {
        this.single.delete(one);
        await end(one, deadline);
      },
    };
  }

  /** Whether any subscription to the topic runs. */
  isOpen(pubsubName: string, topic: string): boolean {
    const isIt = ({ spec, subscription }: Running): boolean =>
      subscription !== undefined && spec.pubsubName === pubsubName && spec.topic === topic;
    return [...this.running.values(), ...this.single].some(isIt);
  }

  /** Closes what runs on a component, before it goes or is replaced. */
  async closeOf(pubsubName: string, deadline: AbortSignal): Promise<void> {
    const leaving = [...this.running].filter(([, { spec }]) => spec.pubsubName === pubsubName);
    for (const [key] of leaving) this.running.delete(key);
    await Promise.all(leaving.map(([, one]) => end(one, deadline)));
  }

  /** Stops taking messages at once, waits for the handlers in hand until `deadline` aborts, and opens nothing any more. */
  async close(deadline: AbortSignal): Promise<void> {
    this.closed = true;
    const all = [...this.running.values(), ...this.single];
    this.running.clear();
    this.single.clear();
    await Promise.all(all.map((one) => end(one, deadline)));
  }

  private tell(opened: readonly SubscriptionSpec[]): void {
    for (const name of new Set(opened.map(({ pubsubName }) => pubsubName))) {
      const topics = opened.filter(({ pubsubName }) => pubsubName === name).map(({ topic }) => topic);
      this.log.info(`app is subscribed to the following topics: [[${topics.join(' ')}]] through pubsub=${name}`);
    }
  }

  /** Once, and not again at each reload. */
  private tellUnloaded(specs: readonly SubscriptionSpec[]): void {
    const known = this.unloaded;
    this.unloaded = new Set(specs.map(keyOf));
    for (const spec of specs.filter((one) => !known.has(keyOf(one)))) {
      this.log.warn(`subscription to topic ${spec.topic} names pubsub ${spec.pubsubName}, which is not loaded`);
    }
  }

  /** Whether it is open; if not it is tried again in the background. */
  private async start(key: string, spec: SubscriptionSpec, recipient: Recipient): Promise<boolean> {
    const one: Running = { spec, cancel: new AbortController(), opening: Promise.resolve() };
    this.running.set(key, one);
    try {
      await this.tryOpen(one, recipient);
      return true;
    } catch (error) {
      if (one.cancel.signal.aborted) return false;
      const { pubsubName, topic } = spec;
      this.log.error(`Failed to start subscription for pubsub ${pubsubName}, topic ${topic}: ${messageOf(error)}`);
      one.opening = this.keepOpening(one, recipient);
      return false;
    }
  }

  private async tryOpen(one: Running, recipient: Recipient): Promise<void> {
    const { pubsubName, topic, metadata, bulk } = one.spec;
    const options = { metadata, ...(bulk && { batch: bulk.maxMessages }) };
    const pubsub = this.pubSubs.get(pubsubName);
    if (!pubsub) throw new Error(`pubsub ${pubsubName} is not found`);
    if (!pubsub.scopes.maySubscribe(topic)) {
      throw new Error(`subscription to topic '${topic}' on pubsub '${pubsubName}' is not allowed`);
    }
    one.handler ??= await this.createHandler(one.spec, pubsub, recipient, one.cancel.signal);
    one.subscription = await pubsub.broker.subscribe(pubsub.topicPrefix + topic, options, one.handler);
    if (!one.cancel.signal.aborted) return;
    await one.subscription.close(AbortSignal.abort()); // it was ended while it opened
    throw new Error('subscriber is closed');
  }

  private async keepOpening(one: Running, recipient: Recipient): Promise<void> {
    const { pubsubName, topic } = one.spec;
    for (let attempt = 1; ; attempt++) {
      await sleep(backoffMs(OPEN_BACKOFF, attempt), one.cancel.signal);
      if (one.cancel.signal.aborted) return;
      try {
        await this.tryOpen(one, recipient);
        this.log.info(`Successfully started subscription after retry for pubsub ${pubsubName}, topic ${topic}`);
        return;
      } catch (error) {
        if (one.cancel.signal.aborted) return;
        this.log.warn(
          `Retry failed for subscription pubsub ${pubsubName}, topic ${topic}: ${messageOf(error)}. Will retry.`,
        );
      }
    }
  }
}

async function end(one: Running, deadline: AbortSignal): Promise<void> {
  one.cancel.abort();
  await one.opening;
  await one.subscription?.close(deadline);
}
