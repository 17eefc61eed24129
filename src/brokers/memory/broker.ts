import type {
  Broker,
  BrokerFactory,
  BrokerFeature,
  GroupStats,
  Handler,
  OutboundMessage,
  PublishFailure,
  SubscribeOptions,
  Subscription,
} from '../../core/broker.ts';
import { describeSettings, parseSettings, type Values } from '../../lib/settings.ts';
import { Queue } from './queue.ts';
import { SETTINGS } from './settings.ts';
import { MemorySubscription } from './subscription.ts';

/**
 * Topics in this process, for tests and toys: nothing outlives the process and a message that nobody subscribes to
 * vanishes. Each subscription gets its own copy, unless the component names a `consumerID`: then those to the same
 * topic share one, which also waits for the next of them when all are closed.
 */
export const memoryBroker: BrokerFactory = {
  type: 'pubsub.in-memory',
  open: async (settings, { consumerIdGiven }) => new MemoryBroker(parseSettings(SETTINGS, settings), consumerIdGiven),
  check: (settings) => void parseSettings(SETTINGS, settings),
  describe: () => describeSettings(SETTINGS),
};

class MemoryBroker implements Broker {
  readonly features: ReadonlySet<BrokerFeature> = new Set<BrokerFeature>(['wildcard-topics']);
  private readonly settings: Values<typeof SETTINGS>;
  private readonly shares: boolean;
  /** By what they are subscribed to, patterns apart. More than one for the same only without sharing. */
  private readonly exact = new Map<string, Set<Queue>>();
  private readonly patterns = new Map<string, Set<Queue>>();
  private readonly subscriptions = new Set<MemorySubscription>();
  private lastId = 0;
  private closing: Promise<void> | undefined;

  constructor(settings: Values<typeof SETTINGS>, shares: boolean) {
    this.settings = settings;
    this.shares = shares;
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    this.refuseWhenClosed();
    const queues = this.queuesFor(topic);
    const failures: PublishFailure[] = [];
    for (const [index, message] of messages.entries()) {
      const refusal = queues.map((queue) => queue.refusal(message)).find((reason) => reason !== undefined);
      if (refusal !== undefined) {
        failures.push({ index, error: new Error(refusal) });
        continue;
      }
      const id = String(++this.lastId);
      for (const queue of queues) queue.add(topic, id, message);
    }
    return failures;
  }

  async subscribe(topic: string, _options: SubscribeOptions, handler: Handler): Promise<Subscription> {
    this.refuseWhenClosed();
    const queue = this.openQueue(topic);
    const subscription: MemorySubscription = new MemorySubscription(queue, handler, this.settings.concurrency, () => {
      this.subscriptions.delete(subscription);
      if (!this.shares) this.drop(queue);
    });
    this.subscriptions.add(subscription);
    queue.join(subscription);
    return subscription;
  }

  /** Without sharing, of all subscriptions to the topic together. */
  async stats(topic: string): Promise<GroupStats> {
    this.refuseWhenClosed();
    const all = [...this.queuesOf(topic)].map((queue) => queue.stats());
    const sum = (key: 'lag' | 'pending' | 'parked'): number => all.reduce((total, one) => total + one[key], 0);
    const oldestUnsettledMs = Math.max(0, ...all.map((one) => one.oldestUnsettledMs));
    return { lag: sum('lag'), pending: sum('pending'), parked: sum('parked'), oldestUnsettledMs };
  }

  async unpark(topic: string): Promise<number> {
    this.refuseWhenClosed();
    return [...this.queuesOf(topic)].reduce((total, queue) => total + queue.unpark(), 0);
  }

  async ping(): Promise<void> {
    this.refuseWhenClosed();
  }

  close(): Promise<void> {
    return (this.closing ??= this.end());
  }

  private async end(): Promise<void> {
    await Promise.all([...this.subscriptions].map((subscription) => subscription.close(AbortSignal.abort())));
    for (const queues of [...this.exact.values(), ...this.patterns.values()]) queues.forEach((queue) => queue.clear());
  }

  private refuseWhenClosed(): void {
    if (this.closing) throw new Error('component is closed');
  }

  private queuesFor(topic: string): Queue[] {
    const found = [...(this.exact.get(topic) ?? [])];
    for (const [pattern, queues] of this.patterns) if (matches(pattern, topic)) found.push(...queues);
    return found;
  }

  private queuesOf(subscribedTo: string): ReadonlySet<Queue> {
    return this.mapOf(subscribedTo).get(subscribedTo) ?? new Set();
  }

  private mapOf(subscribedTo: string): Map<string, Set<Queue>> {
    return subscribedTo.endsWith('*') ? this.patterns : this.exact;
  }

  private openQueue(subscribedTo: string): Queue {
    const [existing] = this.queuesOf(subscribedTo);
    if (this.shares && existing) return existing;
    const queue = new Queue(subscribedTo, this.settings);
    this.mapOf(subscribedTo).set(subscribedTo, new Set([...this.queuesOf(subscribedTo), queue]));
    return queue;
  }

  private drop(queue: Queue): void {
    queue.clear();
    const { subscribedTo } = queue;
    const rest = this.queuesOf(subscribedTo).difference(new Set([queue]));
    if (rest.size > 0) this.mapOf(subscribedTo).set(subscribedTo, rest);
    else this.mapOf(subscribedTo).delete(subscribedTo);
  }
}

/** `a*` matches what starts with `a`, but not `a`. */
const matches = (pattern: string, topic: string): boolean =>
  topic.length >= pattern.length && topic.startsWith(pattern.slice(0, -1));
