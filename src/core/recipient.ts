/**
 * The contract with whoever takes events: the app over HTTP, the app over gRPC, one open stream. Core knows only
 * this; what an HTTP status or a gRPC code means is said once, in channels/outcome.ts.
 */

import type { Member } from '../lib/json-bytes.ts';
import type { Semaphore } from '../lib/semaphore.ts';
import type { Invocation, Invoked, Relay } from './invocation.ts';
import type { SubscriptionSpec } from './subscription.ts';

/** One event on its way to a recipient. */
export interface TopicEvent {
  readonly pubsubName: string;
  /** The topic the message came from. */
  readonly topic: string;
  /** Path of the rule that matched; may lack the leading slash, may be empty. */
  readonly path: string;
  /** The CloudEvent as JSON. */
  readonly body: Uint8Array;
  /** Where its members lie in `body`. */
  readonly members: readonly Member[];
  /** The message's own bytes on a raw subscription, where a batch carries them instead of the event around them. */
  readonly raw?: Uint8Array;
  /** The message's metadata, keys as the publisher gave them. */
  readonly metadata: Readonly<Record<string, string>>;
  /** W3C context of the delivery, empty when there is none. */
  readonly traceparent: string;
  readonly tracestate: string;
  /** W3C baggage of the publisher, empty when there is none. */
  readonly baggage: string;
}

/** What a recipient said of one event. */
export type Answer =
  | { readonly kind: 'success' }
  | { readonly kind: 'drop' }
  /** Nobody there handles this event: HTTP 404, gRPC UNIMPLEMENTED. */
  | { readonly kind: 'not-found'; readonly reason: string; readonly code: number }
  /**
   * It failed or could not be reached. `code` is the HTTP status or gRPC code, absent where there is none. `afterMs`
   * says that the event was not handed over at all: it comes again then, whatever the policy says.
   */
  | { readonly kind: 'retry'; readonly reason: string; readonly code?: number; readonly afterMs?: number };

export interface Recipient {
  /** To be waited for before anything is handed over, where only so much may be in hand at once. */
  readonly turns?: Semaphore | undefined;
  /** Hands over one event and returns what was said of it. Never rejects: an abort is an answer to retry. */
  deliver(event: TopicEvent, signal: AbortSignal): Promise<Answer>;
  /** Hands over events of one topic and path as one batch and returns what was said of each, in their order. Never rejects. */
  deliverBulk(events: readonly TopicEvent[], signal: AbortSignal): Promise<readonly Answer[]>;
}

/** The app beside the sidecar: a recipient that can be asked what it wants. */
export interface AppChannel extends Recipient {
  /**
   * What the app subscribes to. Empty when it subscribes to nothing or does not know the question.
   * Rejects when it could not be asked or answered nonsense.
   */
  subscriptions(signal: AbortSignal): Promise<readonly SubscriptionSpec[]>;
  /** Tells the app's configuration endpoint that we are here. Never rejects; the answer is of no use to us. */
  configure(signal: AbortSignal): Promise<void>;
  /** Resolves when the app says that it is well. Rejects with the reason why it is not. */
  probe(signal: AbortSignal): Promise<void>;
  /** Calls the app. Rejects when no answer came or could be read, with RefusedByApp when it refused in gRPC. */
  invoke(call: Invocation, signal: AbortSignal): Promise<Invoked>;
  /** Begins a call of a service of the app's own. Undefined where the app has none of gRPC. */
  readonly relay?: Relay;
  close(): Promise<void>;
}
