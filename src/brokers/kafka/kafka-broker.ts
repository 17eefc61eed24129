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
import { backoffMs } from '../../lib/backoff.ts';
import { Closables } from '../../lib/closables.ts';
import { deadlineAfter, failAtAbort } from '../../lib/deadline.ts';
import { sleep } from '../../lib/sleep.ts';
import { Teller } from '../../lib/teller.ts';
import { saslOptions, tlsOptions } from './authentication.ts';
import { asksForAvro, Avro } from './avro.ts';
import { Cluster } from './cluster.ts';
import { Consumer } from './consumer.ts';
import { presenter } from './incoming.ts';
import type { LinkOptions } from './link.ts';
import { Membership } from './membership.ts';
import { Publisher } from './publisher.ts';
import type { KafkaSettings } from './settings.ts';
import { readOne } from './read-one.ts';
import { groupStats } from './stats.ts';

/** How long `open` waits for brokers that are not there yet; the component's initTimeout ends it earlier. */
const OPEN_PATIENCE_MS = 60_000;
const PING_PATIENCE_MS = 3000;
const OPEN_BACKOFF = { initialMs: 100, factor: 2, maxMs: 2000, jitter: 0.2 };

export class KafkaBroker implements Broker {
  readonly features: ReadonlySet<BrokerFeature> = new Set();
  private readonly settings: KafkaSettings;
  private readonly where: string;
  private readonly cluster: Cluster;
  private readonly avro: Avro;
  private readonly publisher: Publisher;
  private readonly membership: Membership;
  private readonly teller: Teller;
  /** Made by the first subscription: who only publishes joins no group. */
  private consumer: Consumer | undefined;
  private readonly subscriptions = new Closables();
  private readonly closer = new AbortController();
  private closing: Promise<void> | undefined;

  constructor(settings: KafkaSettings, { consumerId, log }: BrokerContext) {
    this.settings = settings;
    this.where = settings.brokers.map(({ host, port }) => `${host}:${port}`).join(', ');
    this.teller = new Teller(log, `kafka at ${this.where}`);
    const options: LinkOptions = {
      clientId: settings.clientId,
      tls: tlsOptions(settings),
      sasl: saslOptions(settings),
      dialTimeoutMs: settings.dialTimeout,
      answerTimeoutMs: settings.readTimeout,
      keepAliveMs: settings.clientConnectionKeepAliveInterval || 60_000,
    };
    this.cluster = new Cluster(settings.brokers, options, this.teller);
    this.avro = new Avro(settings);
    this.publisher = new Publisher(settings, this.cluster, this.avro);
    this.membership = new Membership(this.cluster, {
      group: settings.consumerGroup || consumerId,
      strategy: settings.consumerGroupRebalanceStrategy,
      sessionTimeoutMs: settings.sessionTimeout,
      heartbeatMs: settings.heartbeatInterval,
    });
  }

  /** Resolves when connected. Brokers that are away are waited for; ones that refuse us are an error. */
  async open(): Promise<void> {
    const patience = performance.now() + OPEN_PATIENCE_MS;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.cluster.any();
        return;
      } catch (error) {
        if (!isAbsence(error) || performance.now() > patience || this.closing) {
          this.cluster.close();
          throw new Error(`kafka: error connecting to ${this.where}: ${messageOf(error)}`, { cause: error });
        }
      }
      await sleep(backoffMs(OPEN_BACKOFF, attempt), this.closer.signal);
    }
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    this.refuseWhenClosed();
    return this.publisher.publish(topic, messages);
  }

  async subscribe(topic: string, { metadata, batch = 1 }: SubscribeOptions, handler: Handler): Promise<Subscription> {
    this.refuseWhenClosed();
    this.consumer ??= new Consumer(this.settings, this.cluster, this.membership, this.teller);
    const { excluded, escapeHeaders: escape } = this.settings;
    const present = presenter({ excluded, escape }, asksForAvro(metadata) ? this.avro : undefined);
    const subscription = await this.consumer.subscribe(topic, handler, present, batch);
    return this.subscriptions.add(subscription);
  }

  async stats(topic: string): Promise<GroupStats> {
    this.refuseWhenClosed();
    return groupStats(topic, {
      cluster: this.cluster,
      membership: this.membership,
      own: this.consumer?.share.of(topic) ?? [],
      readOne: (partition, offset) =>
        readOne(this.cluster, { topic, topicId: this.cluster.idOf(topic), partition, offset }),
    });
  }

  /** What this sidecar has parked; another one of the group has to be asked itself. */
  async unpark(topic: string): Promise<number> {
    this.refuseWhenClosed();
    return (await this.consumer?.share.unpark(topic)) ?? 0;
  }

  async ping(): Promise<void> {
    this.refuseWhenClosed();
    const answer = this.cluster.any().then((link) => link.ask('ApiVersions', {}));
    const { signal, cancel } = deadlineAfter(PING_PATIENCE_MS);
    const late = failAtAbort(signal, () => `kafka at ${this.where} does not answer`);
    await Promise.race([answer, late]).finally(cancel);
  }

  close(): Promise<void> {
    return (this.closing ??= this.end());
  }

  private async end(): Promise<void> {
    this.closer.abort();
    this.publisher.close();
    await this.subscriptions.close();
    await this.consumer?.close();
    this.cluster.close();
  }

  private refuseWhenClosed(): void {
    if (this.closing) throw new Error('component is closed');
  }
}

/** Whether nobody answered; not whether somebody refused us. */
function isAbsence(error: unknown): boolean {
  const { name = '', retriable, code, message = '' } = error as Partial<Error & { retriable: boolean; code: string }>;
  if (/SASL|certificate|self.signed|alert/i.test(`${name} ${message}`) || /^(ERR_|CERT_)/.test(String(code)))
    return false;
  return retriable !== false;
}
