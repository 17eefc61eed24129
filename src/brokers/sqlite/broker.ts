import type {
  Broker,
  BrokerContext,
  BrokerFactory,
  BrokerFeature,
  GroupStats,
  Handler,
  OutboundMessage,
  PublishFailure,
  SubscribeOptions,
  Subscription,
} from '../../core/broker.ts';
import { describeSettings } from '../../lib/settings.ts';
import { Link, type LinkListener } from './link.ts';
import { RELEASED, type Delivery } from './protocol.ts';
import { readSettings, SETTINGS, type SqliteOptions } from './settings.ts';
import { SqliteSubscription } from './subscription.ts';

/**
 * Topics in one database file, shared by the sidecars of a machine. A publish is on the disk before it resolves. A
 * new group gets what the file still holds. A broker that ends, in whatever way, gives back what it had in hand;
 * that includes what it has parked, so a restart tries that once more.
 */
export const sqliteBroker: BrokerFactory = {
  type: 'pubsub.sqlite',
  async open(settings, context) {
    const broker = new SqliteBroker(readSettings(settings, context.home), context);
    await broker.open(context.initSignal);
    return broker;
  },
  check: (settings) => void readSettings(settings, ''),
  describe: () => describeSettings(SETTINGS),
};

const NONE: readonly PublishFailure[] = [];

class SqliteBroker implements Broker {
  readonly features: ReadonlySet<BrokerFeature> = new Set();
  private readonly link: Link;
  private readonly group: string;
  private readonly concurrency: number;
  /** By their numbers in the database thread. */
  private readonly members = new Map<number, SqliteSubscription>();
  private lastMember = 0;
  private closing: Promise<void> | undefined;
  private readonly parseMetadata = rememberingParser();

  constructor({ database, concurrency }: SqliteOptions, { consumerId, log }: BrokerContext) {
    this.group = consumerId;
    this.concurrency = concurrency;
    const listener: LinkListener = {
      onDeliveries: (owner, deliveries, bytes) => this.hand(owner, deliveries, bytes),
      onLeaseLost: () => this.members.forEach((subscription) => subscription.loseLease()),
      onRestart: () => this.joinAgain(),
    };
    this.link = new Link(database, listener, log);
  }

  open(signal: AbortSignal): Promise<void> {
    return this.link.open(signal);
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    this.refuseWhenClosed();
    const refusal = messages.length === 0 ? undefined : await this.link.publish(topic, messages);
    if (refusal === undefined) return NONE;
    return messages.map((_, index) => ({ index, error: new Error(refusal) }));
  }

  async subscribe(topic: string, _options: SubscribeOptions, handler: Handler): Promise<Subscription> {
    this.refuseWhenClosed();
    const subscription: SqliteSubscription = new SqliteSubscription(topic, handler, this.link, () =>
      this.members.delete(subscription.member),
    );
    await this.join(subscription);
    return subscription;
  }

  async stats(topic: string): Promise<GroupStats> {
    this.refuseWhenClosed();
    return (await this.link.call({ kind: 'stats', topic, group: this.group })) as GroupStats;
  }

  async unpark(topic: string): Promise<number> {
    this.refuseWhenClosed();
    return (await this.link.call({ kind: 'unpark', topic, group: this.group })) as number;
  }

  /** Writes to the database, so that a full disk is found out. */
  async ping(): Promise<void> {
    this.refuseWhenClosed();
    await this.link.call({ kind: 'beat' });
  }

  close(): Promise<void> {
    return (this.closing ??= this.end());
  }

  private async end(): Promise<void> {
    await Promise.all([...this.members.values()].map((subscription) => subscription.close(AbortSignal.abort())));
    await this.link.close();
  }

  private refuseWhenClosed(): void {
    if (this.closing) throw new Error('component is closed');
  }

  /** Makes a subscription known to the database thread, under a number that no other ever had there. */
  private async join(subscription: SqliteSubscription): Promise<void> {
    const { topic, member: before } = subscription;
    const member = ++this.lastMember;
    subscription.member = member;
    this.members.delete(before);
    this.members.set(member, subscription);
    try {
      await this.link.call({ kind: 'subscribe', topic, group: this.group, member, concurrency: this.concurrency });
      subscription.hasJoined = true;
    } catch (error) {
      if (before === 0) this.members.delete(member);
      throw error;
    }
  }

  private async joinAgain(): Promise<void> {
    // Those that never joined are about to.
    const joined = [...this.members.values()].filter(({ isOpen, hasJoined }) => isOpen && hasJoined);
    await Promise.all(joined.map((subscription) => this.join(subscription)));
  }

  private hand(owner: number, deliveries: readonly Delivery[], bytes: Uint8Array<ArrayBuffer>): void {
    const payloads = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let offset = 0;
    for (const delivery of deliveries) {
      const [member, group, id, attempt, contentType, text, size] = delivery;
      const data = payloads.subarray(offset, offset + size);
      offset += size;
      const subscription = this.members.get(member);
      if (!subscription) {
        this.link.settle([member, group, owner, id, RELEASED, size, true]);
        continue;
      }
      const { topic } = subscription;
      const metadata = this.parseMetadata(text);
      subscription.take(delivery, owner, { topic, id: String(id), attempt, contentType, metadata, data });
    }
  }
}

/** Reads metadata; neighbours mostly have the same, and then share one object. */
function rememberingParser(): (text: string) => Readonly<Record<string, string>> {
  let lastText = '{}';
  let last: Readonly<Record<string, string>> = {};
  return (text) => {
    if (text !== lastText) [lastText, last] = [text, JSON.parse(text) as Record<string, string>];
    return last;
  };
}
