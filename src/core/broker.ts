/**
 * The contract between the sidecar and what carries messages. One interface, no optional parts:
 * every broker passes test/conformance unchanged.
 *
 * Glossary, one word per thing:
 * - **message**: bytes with metadata on a broker. **event**: a CloudEvent; a message usually holds one.
 * - **topic**: a named sequence of messages. **group**: the sidecars that share one copy of it (same consumer id).
 * - **component**: the YAML that describes a broker. **broker**: the running thing made from it.
 * - **spec**: a subscription somebody asked for. **subscription**: one that is running.
 * - **recipient**: who takes events (an app over HTTP or gRPC, a stream). **answer**: what the recipient said.
 *   **outcome**: what we make of the answer, and what the broker settles by.
 * - **settle**: remove from the group's pending set for good. **lease**: the right to handle a message, which
 *   ends with its holder. **attempt**: a delivery that counts, the how-many-th this is, from 1.
 * - **park**: keep and show, but do not deliver until asked. **dead letter**: a message moved to the topic that
 *   the spec names for failures.
 */

import type { Log } from '../lib/log.ts';

/** What became of one message. A broker settles by it and by nothing else. */
export type Outcome =
  /** Handled. Settled for good. */
  | { readonly kind: 'success' }
  /** The app, its expiry, or a confirmed dead-letter write said so. Settled for good. */
  | { readonly kind: 'drop' }
  /**
   * Not settled: deliver again, not before `afterMs` from now. `Infinity` parks it. `uncounted`: this delivery was no
   * attempt, the next one has the same number.
   */
  | { readonly kind: 'retry'; readonly afterMs: number; readonly uncounted?: true };

export interface OutboundMessage {
  readonly data: Uint8Array;
  /** Media type of `data` as the publisher gave it; brokers that have no place for it may ignore it. */
  readonly contentType: string;
  /** The publisher's metadata. Stored with the message and handed back on delivery, keys as they were. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface InboundMessage extends OutboundMessage {
  /** The topic it was published to, also where the subscription is a pattern. */
  readonly topic: string;
  /** The broker's own name for the message, unique within topic and group, the same on every attempt. */
  readonly id: string;
  /**
   * From 1. Counts deliveries that a handler saw and did not call `uncounted`, across restarts where the broker is
   * durable.
   */
  readonly attempt: number;
}

/**
 * Handles one message. Never rejects. `signal` aborts when the message is no longer ours (lease lost,
 * deadline of a close passed); the outcome is then ignored and the message belongs to the next owner.
 */
export type Handler = (message: InboundMessage, signal: AbortSignal) => Promise<Outcome>;

/** A message the broker did not take. `index` is its place in the list that was given to `publish`. */
export interface PublishFailure {
  readonly index: number;
  readonly error: Error;
}

export interface SubscribeOptions {
  /** The spec's metadata, for settings a broker takes per subscription. */
  readonly metadata: Readonly<Record<string, string>>;
  /**
   * How many messages the handler gathers before it ends any of them; by default 1. A broker that keeps an order hands
   * out so many together, or a batch would never fill.
   */
  readonly batch?: number;
}

export interface Subscription {
  /**
   * Takes no further message at once, waits for the handlers in hand and settles by their outcomes, and gives
   * back what is not settled when `deadline` aborts. Resolves when all is settled or given back; a handler that goes
   * on after its signal aborted is not waited for. Safe to call twice, also with an earlier deadline.
   */
  close(deadline: AbortSignal): Promise<void>;
}

/** How a group stands on a topic. Times are milliseconds. */
export interface GroupStats {
  /** Messages that were never delivered to the group. */
  readonly lag: number;
  /** Messages delivered but not settled, parked ones included. */
  readonly pending: number;
  /** Age of the oldest message that is not settled, 0 when there is none. */
  readonly oldestUnsettledMs: number;
  readonly parked: number;
}

/**
 * What a broker does by itself, so that core must not: keep messages only for their TTL; patterns as topics; lists.
 * `bulk-at-once`: its messages do not wait for company, because it waits for the first before it hands out more.
 */
export type BrokerFeature = 'message-ttl' | 'wildcard-topics' | 'bulk-publish' | 'bulk-at-once';

export interface Broker {
  readonly features: ReadonlySet<BrokerFeature>;
  /**
   * Stores the messages in order. Resolves when each one is as durable as the broker makes it, or known to be
   * refused: those are listed. Empty list: all stored. Rejects only when nothing was attempted (broker closed).
   */
  publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]>;
  /**
   * Starts delivering to `handler`. Resolves when the group exists, so that whatever is published from then on
   * reaches it; rejects when it cannot. A message whose handler has not settled it is never lost: it comes
   * again to this subscription, to another of the group, or to the next process.
   */
  subscribe(topic: string, options: SubscribeOptions, handler: Handler): Promise<Subscription>;
  /** How this broker's group stands on a topic. */
  stats(topic: string): Promise<GroupStats>;
  /** Delivers what the group has parked on the topic again. Resolves with how many that were. */
  unpark(topic: string): Promise<number>;
  /** Rejects when the broker could not take a message now. */
  ping(): Promise<void>;
  /** Ends every subscription (as `close` with a deadline that has passed) and frees everything. Safe to call twice. */
  close(): Promise<void>;
}

/** Where a broker is opened: what it may need to know of its sidecar. */
export interface BrokerContext {
  /** Name of the component, for messages to people. */
  readonly name: string;
  readonly appId: string;
  /** The group. The component's `consumerID`, by default the app id. */
  readonly consumerId: string;
  /** Whether `consumerID` was written in the component. Brokers without durable groups only group when it was. */
  readonly consumerIdGiven: boolean;
  /** Absolute path of the Dapr home directory (by default ~/.dapr). It may not exist yet. */
  readonly home: string;
  readonly log: Log;
  /**
   * Aborts when opening is not awaited any more: the component's initTimeout is over, or the sidecar stops. `open`
   * stops trying then, frees everything and rejects. Of no meaning once it has resolved.
   */
  readonly initSignal: AbortSignal;
}

/**
 * Makes brokers of one component type. `settings` are the component's metadata after secrets and templates, keys
 * as written. Rejects with one error that lists everything wrong with them, or that says why the broker cannot start;
 * soon after the context's `initSignal` has aborted at the latest.
 */
export interface BrokerFactory {
  /** As in `spec.type`, lower case, for example `pubsub.in-memory`. */
  readonly type: string;
  open(settings: Readonly<Record<string, string>>, context: BrokerContext): Promise<Broker>;
  /** Throws one error with everything wrong with the settings, as far as it can be told without a broker. */
  check(settings: Readonly<Record<string, string>>): void;
  /** The settings as a table in Markdown, printed from the schema that parses them. */
  describe(): string;
}
