/** How the group stands on what is subscribed to, asked of the brokers when somebody wants to know. */

import { deadlineAfter, failAtAbort } from '../lib/deadline.ts';
import type { GroupStats } from './broker.ts';
import type { PubSubs } from './publisher.ts';
import type { Subscriptions } from './subscriptions.ts';

/** A topic that somebody subscribes to. */
export interface TopicStanding {
  readonly pubsub: string;
  readonly topic: string;
  /** Whose figures they are; empty while the component does not run. */
  readonly group: string;
  /** Whether a subscription to it runs: not while it cannot be opened, and not while the app is unhealthy. */
  readonly isOpen: boolean;
  /** Undefined where the broker did not tell. */
  readonly stats: GroupStats | undefined;
}

export interface Standings {
  /** Each component, and whether its broker could take a message just now. */
  readonly components: readonly { readonly pubsub: string; readonly isUp: boolean }[];
  readonly topics: readonly TopicStanding[];
}

/** What is asked about. */
export interface StandingsSource {
  readonly pubSubs: PubSubs;
  readonly subscriptions: Subscriptions;
  /** What is subscribed to, or is to be; a topic may be there twice. */
  readonly wanted: () => readonly { readonly pubsubName: string; readonly topic: string }[];
}

/** A broker that has not answered by then counts as one that does not: less than those who scrape wait. */
const PATIENCE_MS = 2000;

/** Asks. Never rejects, and a broker that hangs has one question of a kind in hand, however often somebody wants to know. */
export function standingsOf({ pubSubs, subscriptions, wanted }: StandingsSource): () => Promise<Standings> {
  const asked = new Map<string, Promise<unknown>>();
  const once = <T>(key: string, ask: () => Promise<T>): Promise<T> => {
    const answer = (asked.get(key) as Promise<T> | undefined) ?? ask().finally(() => asked.delete(key));
    asked.set(key, answer);
    return answer;
  };

  return async () => {
    const patience = deadlineAfter(PATIENCE_MS);
    const ask = <T>(key: string, question: () => Promise<T>): Promise<T | undefined> =>
      Promise.race([once(key, question), failAtAbort(patience.signal, () => 'no answer')]).catch(() => undefined);
    const components = [...pubSubs].map(async ([pubsub, { broker }]) => ({
      pubsub,
      isUp: (await ask(pubsub, () => broker.ping().then(() => true))) ?? false,
    }));
    const each = new Map(wanted().map((spec) => [JSON.stringify([spec.pubsubName, spec.topic]), spec]));
    const topics = [...each].map(async ([key, { pubsubName: pubsub, topic }]) => {
      const { broker, topicPrefix, group = '' } = pubSubs.get(pubsub) ?? {};
      const stats = broker && (await ask(key, () => broker.stats(topicPrefix + topic)));
      return { pubsub, topic, group, isOpen: subscriptions.isOpen(pubsub, topic), stats };
    });
    const standings = { components: await Promise.all(components), topics: await Promise.all(topics) };
    patience.cancel();
    return standings;
  };
}
