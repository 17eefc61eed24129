/** What is parked of the topics that are subscribed to, why, and delivering it again. */

import { SidecarError } from './errors.ts';
import type { PubSubs } from './publisher.ts';
import type { Standings } from './standings.ts';

/** How a message came to be parked. */
export interface Parking {
  /** Id of the event. */
  readonly event: string;
  readonly attempts: number;
  /** What the recipient said last. */
  readonly reason: string;
  /** ISO 8601. */
  readonly time: string;
}

/** A topic that somebody subscribes to. */
export interface ParkedTopic {
  readonly pubsubname: string;
  readonly topic: string;
  readonly group: string;
  /** How many messages; absent where the broker did not tell. */
  readonly parked?: number | undefined;
  /** Age of the oldest message that is not settled, parked or not. */
  readonly oldestUnsettledMs?: number | undefined;
  /** The last one that this sidecar has parked, of those that are. Others of the group park, too. */
  readonly last?: Parking | undefined;
}

/** Streams may subscribe to topics without end. */
const MAX_TOPICS = 1000;

export class Parked {
  private readonly pubSubs: PubSubs;
  /** By component and topic as it was subscribed to. */
  private readonly last = new Map<string, Parking>();

  constructor(pubSubs: PubSubs) {
    this.pubSubs = pubSubs;
  }

  /** A message of a subscription was parked. */
  note(pubsubName: string, topic: string, parking: Parking): void {
    const key = keyOf(pubsubName, topic);
    this.last.delete(key);
    this.last.set(key, parking);
    for (const oldest of this.last.keys()) if (this.last.size > MAX_TOPICS) this.last.delete(oldest);
  }

  list({ topics }: Standings): ParkedTopic[] {
    return topics.map(({ pubsub, topic, group, stats }) => {
      const { parked, oldestUnsettledMs } = stats ?? {};
      const last = parked === 0 ? undefined : this.last.get(keyOf(pubsub, topic));
      return { pubsubname: pubsub, topic, group, parked, oldestUnsettledMs, last };
    });
  }

  /** Resolves with how many messages will come again. Rejects as `Broker.unpark` does, or when there is no such component. */
  async deliver(pubsubName: string, topic: string): Promise<number> {
    const pubsub = this.pubSubs.get(pubsubName);
    if (!pubsub) throw new SidecarError('pubsub-not-found', `pubsub ${pubsubName} is not found`);
    const key = keyOf(pubsubName, topic);
    const before = this.last.get(key);
    const delivered = await pubsub.broker.unpark(pubsub.topicPrefix + topic);
    if (this.last.get(key) === before) this.last.delete(key); // else one was parked meanwhile
    return delivered;
  }
}

const keyOf = (pubsubName: string, topic: string): string => JSON.stringify([pubsubName, topic]);
