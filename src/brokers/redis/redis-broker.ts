import type { Redis } from 'ioredis';
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
import { backoffMs, type Backoff } from '../../lib/backoff.ts';
import { Closables } from '../../lib/closables.ts';
import { MAX_TIMER_MS } from '../../lib/deadline.ts';
import { formatGoDuration } from '../../lib/duration.ts';
import type { Log } from '../../lib/log.ts';
import { Connection } from './connection.ts';
import { ConsumerNames, isParked } from './consumer-name.ts';
import { Publisher } from './publisher.ts';
import { Reader } from './reader.ts';
import { reasonOf } from './reason.ts';
import { besideReader, connect, connectReader, shardOf } from './servers.ts';
import { SETTINGS, type RedisSettings } from './settings.ts';
import { groupStats } from './stats.ts';
import { StreamGroup } from './stream-group.ts';
import { Teller } from '../../lib/teller.ts';
import { Topic, type TopicOptions } from './topic.ts';

const MAX_BLOCK_MS = 2000;
const SWEEP_MS = 1000;
const PING_PATIENCE_MS = 1000;
const UNPARK_PAGE = 500;

export class RedisBroker implements Broker {
  readonly features: ReadonlySet<BrokerFeature> = new Set();
  private readonly settings: RedisSettings;
  private readonly group: string;
  private readonly names: ConsumerNames;
  private readonly log: Log;
  private readonly teller: Teller;
  private readonly connection: Connection;
  /** The same, unless publishes wait for replicas. */
  private readonly publishing: Connection;
  private readonly publisher: Publisher;
  private readonly backoff: Backoff;
  private readonly topics = new Map<string, Topic>();
  /** On a cluster one for each slot that is read, else one. */
  private readonly readers = new Map<number, Reader>();
  private readonly subscriptions = new Closables();
  private sweeping: NodeJS.Timeout | undefined;
  private keeping: NodeJS.Timeout | undefined;
  private closing: Promise<void> | undefined;

  constructor(settings: RedisSettings, { consumerId, log }: BrokerContext) {
    this.settings = settings;
    this.group = consumerId;
    this.log = log;
    this.names = new ConsumerNames(consumerId);
    this.teller = new Teller(log, `redis at ${settings.redisHost}`);
    const { redisMinRetryInterval: initialMs, redisMaxRetryInterval: maxMs } = settings;
    this.backoff = { initialMs: Math.max(1, initialMs), factor: 2, maxMs, jitter: 0.2 };
    this.connection = this.connectionWith(settings);
    const { wait, waitTimeout, readTimeout } = settings;
    this.publishing =
      wait > 0 ? this.connectionWith({ ...settings, readTimeout: readTimeout + waitTimeout }) : this.connection;
    const replication = wait > 0 ? { replicas: wait, timeoutMs: waitTimeout } : undefined;
    const trimming = { maxLength: settings.maxLenApprox, maxAgeMs: settings.streamTTL };
    this.publisher = new Publisher(this.publishing, trimming, replication);
    if (trimming.maxLength > 0 && trimming.maxAgeMs > 0) log.warn('streamTTL is ignored: maxLenApprox is set too');
  }

  /** Rejects when the server refuses us, or is not there until `signal` aborts. */
  async open(signal: AbortSignal): Promise<void> {
    try {
      const connections = new Set([this.connection, this.publishing]);
      await Promise.all([...connections].map((connection) => connection.open(signal)));
    } catch (error) {
      this.disconnect();
      const { redisHost } = this.settings;
      throw new Error(`redis streams: error connecting to redis at ${redisHost}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
    this.planSweep();
    this.planKeeping();
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    this.refuseWhenClosed();
    return this.publisher.publish(topic, messages);
  }

  async subscribe(name: string, _options: SubscribeOptions, handler: Handler): Promise<Subscription> {
    this.refuseWhenClosed();
    const group = this.groupOf(name);
    await group.create();
    while (this.topics.get(name)?.ending) await this.topics.get(name)?.ending;
    this.refuseWhenClosed();
    const subscription = (this.topics.get(name) ?? this.addTopic(group)).join(handler);
    return this.subscriptions.add(subscription);
  }

  async stats(topic: string): Promise<GroupStats> {
    this.refuseWhenClosed();
    return groupStats(this.groupOf(topic), () => this.topics.get(topic)?.unseen ?? 0);
  }

  /** Also what other sidecars of the group have parked. */
  async unpark(topic: string): Promise<number> {
    this.refuseWhenClosed();
    const group = this.groupOf(topic);
    let unparked = 0;
    for (const { name } of (await group.consumers()).filter((consumer) => isParked(consumer.name))) {
      for await (const page of group.allPending(name, UNPARK_PAGE)) {
        if (page.length === 0) continue;
        const ids = page.map(({ id }) => id);
        unparked += (await group.handOver(this.names.unparked, ids, 0, 0)).length;
        this.topics.get(topic)?.forgetParked(ids);
      }
    }
    await this.topics.get(topic)?.sweep();
    return unparked;
  }

  async ping(): Promise<void> {
    this.refuseWhenClosed();
    const client = await this.connection.ready(PING_PATIENCE_MS);
    await client.call('ping');
  }

  close(): Promise<void> {
    return (this.closing ??= this.end());
  }

  private async end(): Promise<void> {
    clearTimeout(this.sweeping);
    clearInterval(this.keeping);
    await this.subscriptions.close();
    this.disconnect();
  }

  private disconnect(): void {
    this.connection.close();
    this.publishing.close();
  }

  private connectionWith(settings: RedisSettings): Connection {
    return new Connection((signal) => connect(settings, this.names.own, signal), this.backoff, this.teller);
  }

  private refuseWhenClosed(): void {
    if (this.closing) throw new Error('component is closed');
  }

  private groupOf(topic: string): StreamGroup {
    return new StreamGroup(topic, this.group, this.connection);
  }

  private addTopic(group: StreamGroup): Topic {
    const { concurrency, queueDepth, processingTimeout, redeliverInterval, readTimeout } = this.settings;
    const options: TopicOptions = {
      concurrency,
      queueDepth,
      processingTimeoutMs: redeliverInterval > 0 && processingTimeout > 0 ? processingTimeout : Infinity,
      replyTimeoutMs: readTimeout,
    };
    const shard = shardOf(this.settings, group.topic);
    const reader = this.readers.get(shard) ?? this.createReader();
    this.readers.set(shard, reader);
    const onClosed = (): void => {
      this.topics.delete(group.topic);
      if (!reader.isEmpty) return;
      this.readers.delete(shard);
      void reader.close();
    };
    const topic = new Topic(group, this.names, options, reader, this.teller, onClosed);
    this.topics.set(group.topic, topic);
    topic.open();
    return topic;
  }

  private createReader(): Reader {
    const options = {
      group: this.group,
      consumer: this.names.own,
      blockMs: Math.min(MAX_BLOCK_MS, Math.ceil(this.settings.readTimeout / 2)),
      backoff: this.backoff,
      connect: async (topic: string) => {
        const client = await this.connection.ready(PING_PATIENCE_MS);
        return connectReader(this.settings, this.names.own, client, topic);
      },
      unblock: async (reader: Redis, id: number) => {
        const client = await this.connection.ready(PING_PATIENCE_MS);
        return (await besideReader(client, reader).call('client', ['UNBLOCK', id])) === 1;
      },
    };
    return new Reader(options, this.teller);
  }

  /** What was touched half an interval before is left out, so that nothing is older than one and a half. */
  private planKeeping(): void {
    const { processingTimeout, entryKeepAliveInterval: asked } = this.settings;
    const longestMs = (processingTimeout || Infinity) / 2;
    const keepMs = Math.min(longestMs, asked || (processingTimeout || SETTINGS.processingTimeout.default) / 3);
    if (asked > longestMs) {
      const [taken, wrong] = [longestMs, asked].map(formatGoDuration);
      const half = `entryKeepAliveInterval is taken as ${taken}, half of processingTimeout`;
      this.log.warn(`${half}: with ${wrong} others take over what is in hand`);
    }
    const keep = (): void => this.topics.forEach((topic) => topic.keep(keepMs / 2));
    this.keeping = setInterval(keep, Math.min(keepMs, MAX_TIMER_MS));
  }

  private planSweep(): void {
    const ms = backoffMs(
      { initialMs: this.settings.redeliverInterval || SWEEP_MS, factor: 1, maxMs: Infinity, jitter: 0.1 },
      1,
    );
    this.sweeping = setTimeout(
      () => {
        for (const topic of this.topics.values()) topic.lookNowAndThen();
        this.planSweep();
      },
      Math.min(ms, MAX_TIMER_MS),
    );
  }
}
