import { PubSubService } from '../../../gen/dapr/proto/components/v1/pubsub.ts';
import type {
  Broker,
  BrokerContext,
  BrokerFeature,
  GroupStats,
  Handler,
  OutboundMessage,
  PublishFailure,
  SubscribeOptions,
  Subscription,
} from '../../core/broker.ts';
import { messageOf } from '../../core/errors.ts';
import { Attempts } from './attempts.ts';
import { Connection } from './connection.ts';
import { PluginError } from './plugin-error.ts';
import { PluginPublisher } from './publisher.ts';
import { PluggableSubscription } from './subscription.ts';

const ANSWER_MS = 5000;

/**
 * A component behind a socket as a broker. Only what is settled is acknowledged to it, so a message that fails stays in
 * hand here until its retry, and what is in hand at the end of a stream is the component's to hand out again.
 */
export class PluggableBroker implements Broker {
  private readonly connection: Connection;
  private readonly publisher: PluginPublisher;
  private readonly context: BrokerContext;
  private readonly concurrency: number;
  private readonly subscriptions = new Set<PluggableSubscription>();
  private readonly leaving = new Set<PluggableSubscription>();
  private readonly attempts = new Attempts();
  private draining = 0;
  private pausing: Promise<boolean> | undefined;
  private closing: Promise<void> | undefined;

  constructor(socket: string, settings: Readonly<Record<string, string>>, concurrency: number, context: BrokerContext) {
    const { name, consumerId, log } = context;
    const properties = { ...settings, consumerID: consumerId };
    this.context = context;
    this.concurrency = concurrency;
    this.connection = new Connection({ socket, instance: name, properties, log });
    this.publisher = new PluginPublisher(this.connection, name);
  }

  get features(): ReadonlySet<BrokerFeature> {
    return this.connection.features;
  }

  /** Rejects when nobody answers, somebody else does, or the component refuses its settings. */
  async open(): Promise<void> {
    try {
      await this.connection.open();
    } catch (error) {
      this.connection.close();
      throw error;
    }
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    this.refuseWhenClosed();
    return this.publisher.publish(topic, messages);
  }

  async subscribe(topic: string, { metadata }: SubscribeOptions, handler: Handler): Promise<Subscription> {
    this.refuseWhenClosed();
    await this.resume();
    const { connection, concurrency, attempts } = this;
    const whileClosing = (close: () => Promise<void>): Promise<void> => this.drain(close);
    const { log } = this.context;
    const options = { topic, metadata, handler, connection, concurrency, attempts, whileClosing, log };
    const subscription = new PluggableSubscription(options);
    await subscription.open(() => this.ping());
    this.subscriptions.add(subscription);
    return {
      close: (deadline) => {
        this.subscriptions.delete(subscription);
        this.leaving.add(subscription);
        return subscription.close(deadline).finally(() => this.leaving.delete(subscription));
      },
    };
  }

  /** What of the topic is in hand here: the component does not tell more. */
  async stats(topic: string): Promise<GroupStats> {
    this.refuseWhenClosed();
    const all = this.of(topic).map((one) => one.stats());
    const sum = (key: 'lag' | 'pending' | 'parked'): number => all.reduce((total, one) => total + one[key], 0);
    const oldestUnsettledMs = Math.max(0, ...all.map((one) => one.oldestUnsettledMs));
    return { lag: sum('lag'), pending: sum('pending'), parked: sum('parked'), oldestUnsettledMs };
  }

  async unpark(topic: string): Promise<number> {
    this.refuseWhenClosed();
    return this.of(topic).reduce((total, one) => total + one.unpark(), 0);
  }

  async ping(): Promise<void> {
    this.refuseWhenClosed();
    await this.connection.ready(ANSWER_MS);
    await this.askIfServed(() => this.connection.call(PubSubService.ping, {}, ANSWER_MS));
  }

  close(): Promise<void> {
    return (this.closing ??= this.end());
  }

  private async end(): Promise<void> {
    await Promise.all([...this.subscriptions, ...this.leaving].map((one) => one.close(AbortSignal.abort())));
    this.connection.close();
  }

  private of(topic: string): PluggableSubscription[] {
    return [...this.subscriptions].filter((one) => one.topic === topic);
  }

  private refuseWhenClosed(): void {
    if (this.closing) throw new Error('component is closed');
  }

  /**
   * Closes a subscription that is busy. While the last ones do, the component is told to pause, and afterwards to go
   * on: others may use it under the same name.
   */
  private async drain(close: () => Promise<void>): Promise<void> {
    this.draining++;
    if (this.subscriptions.size === 0) this.pausing ??= this.tell(PubSubService.pause);
    try {
      await close();
    } finally {
      if (--this.draining === 0) await this.resume();
    }
  }

  private async resume(): Promise<void> {
    const { pausing } = this;
    this.pausing = undefined;
    if (await pausing) await this.tell(PubSubService.resume);
  }

  /** Whether the component did so; it need not be able to. */
  private async tell(method: typeof PubSubService.pause | typeof PubSubService.resume): Promise<boolean> {
    try {
      return await this.askIfServed(() => this.connection.call(method, {}, ANSWER_MS));
    } catch (error) {
      this.context.log.warn(`${method.path} failed: ${messageOf(error)}`);
      return false;
    }
  }

  private async askIfServed(ask: () => Promise<unknown>): Promise<boolean> {
    try {
      await ask();
      return true;
    } catch (error) {
      if (error instanceof PluginError && error.isUnimplemented) return false;
      throw error;
    }
  }
}
