/**
 * One message from the broker to the recipient and back to an outcome. The order of the steps is the semantics;
 * read `deliver` first. Nothing here waits between attempts: a retry is handed back to the broker.
 */

import { backoffMs } from '../lib/backoff.ts';
import { membersOf } from '../lib/json-bytes.ts';
import type { Log } from '../lib/log.ts';
import type { Handler, InboundMessage, Outcome, OutboundMessage } from './broker.ts';
import { asBuffer, assemble } from './cloud-event.ts';
import { messageOf } from './errors.ts';
import { isRaw, withoutTtl } from './metadata.ts';
import type { Parking } from './parked.ts';
import type { Publisher, PubSub } from './publisher.ts';
import type { Answer, Recipient } from './recipient.ts';
import { DEFAULT_BACKOFF, type RetryPolicy } from './retry-policy.ts';
import type { Router } from './routing.ts';
import type { SubscriptionSpec } from './subscription.ts';
import { parsedEvent, unwrap, type Event } from './unwrap.ts';

export type ProcessStatus = 'success' | 'retry' | 'drop';

export interface DeliveryContext {
  readonly spec: SubscriptionSpec;
  readonly pubsub: PubSub;
  readonly router: Router;
  readonly recipient: Recipient;
  readonly policy: RetryPolicy;
  readonly publisher: Publisher;
  readonly appId: string;
  /** What a recipient that does not know the event means: `retry` like a failure, `drop` as Dapr does. */
  readonly notFound: 'retry' | 'drop';
  /** Aborts when the subscription ends: a failure is then neither counted against the message nor dead-lettered. */
  readonly closing: AbortSignal;
  readonly onProcessed: (
    pubsub: string,
    topic: string,
    processed: ProcessStatus,
    status: ProcessStatus,
    ms: number,
  ) => void;
  readonly onParked: (parking: Parking) => void;
  readonly log: Log;
}

/** Why a message is taken out of the ordinary way. Becomes the dl* attributes of a dead letter. */
interface Failure {
  readonly reason: string;
  readonly code?: number;
}

const SUCCESS: Outcome = { kind: 'success' };
const DROP: Outcome = { kind: 'drop' };
/** Given back as it is: the next owner takes it at once. Also what is no longer ours ends so, without a dead letter. */
const GIVE_BACK: Outcome = { kind: 'retry', afterMs: 0, uncounted: true };

/** For what must not be given up whatever the policy says: an unwritten dead letter. */
const retryLater = (attempt: number): Outcome => ({ kind: 'retry', afterMs: backoffMs(DEFAULT_BACKOFF, attempt) });

export function createDelivery(context: DeliveryContext): Handler {
  const { spec, pubsub, router, recipient, log } = context;
  const raw = isRaw(spec.metadata, pubsub.name);
  const settlement = new Settlement(context);

  const deliver: Handler = async (message, signal) => {
    const topic = message.topic.replace(pubsub.topicPrefix, '');
    const event = unwrap(message, pubsub.name, topic, raw);
    if (event.expiresAt !== undefined && event.expiresAt <= Date.now()) {
      const since = new Date(event.expiresAt).toISOString();
      log.warn(`dropping expired pub/sub event ${event.id} as of ${since}, topic: ${topic}`);
      return settlement.discard(message, event, topic, { reason: 'expired' }, 'drop');
    }
    const path = router.route(router.readsEvent ? parsedEvent(event, message.metadata) : undefined);
    if (path === undefined) {
      log.debug(`no matching route for event ${event.id} in pubsub ${pubsub.name} and topic ${topic}; skipping`);
      return settlement.discard(message, event, topic, { reason: 'no matching route' }, 'success');
    }

    const started = performance.now();
    const answer = await recipient.deliver(
      {
        pubsubName: pubsub.name,
        topic,
        path,
        body: event.body,
        members: event.members,
        ...(raw && { raw: message.data }),
        metadata: message.metadata,
        traceparent: event.traceparent,
        tracestate: event.tracestate,
        baggage: event.baggage,
      },
      signal,
    );
    if (signal.aborted) return GIVE_BACK;
    return settlement.of(answer, message, event, topic, performance.now() - started);
  };
  return (message, signal) =>
    deliver(message, signal).catch((error: unknown) => {
      // Nobody hears of a handler that rejects: the message would stay in hand for ever.
      log.error(
        `unexpected error while processing message ${message.id} of topic ${message.topic}: ${messageOf(error)}`,
      );
      return retryLater(message.attempt);
    });
}

/** Turns answers into outcomes. The only place that writes dead letters and counts deliveries. */
class Settlement {
  private readonly context: DeliveryContext;

  constructor(context: DeliveryContext) {
    this.context = context;
  }

  async of(answer: Answer, message: InboundMessage, event: Event, topic: string, ms: number): Promise<Outcome> {
    const { log, notFound, closing } = this.context;
    if (answer.kind === 'success') {
      this.count(topic, 'success', 'success', ms);
      return SUCCESS;
    }
    if (answer.kind === 'drop') {
      log.warn(`DROP status returned from app while processing pub/sub event ${event.id}, topic: ${topic}`);
      return this.discard(message, event, topic, { reason: 'dropped by the app' }, this.statusOfDrop, ms);
    }
    if (answer.kind === 'retry' && answer.afterMs !== undefined) {
      return closing.aborted ? GIVE_BACK : { kind: 'retry', afterMs: answer.afterMs, uncounted: true };
    }
    const isFinal = answer.kind === 'not-found' && (notFound === 'drop' || this.hasLetters(topic));
    const error = `${isFinal ? 'non-retriable' : 'retriable'} error returned from app while processing pub/sub event`;
    log.warn(`${error} ${event.id}, topic: ${topic}: ${answer.reason}`);
    if (closing.aborted) return GIVE_BACK;
    if (isFinal) return this.discard(message, event, topic, answer, 'drop', ms);
    this.count(topic, 'retry', 'retry', ms);
    return this.fail(answer, message, event, topic);
  }

  /** As Dapr counts it: with DROP an app has said what becomes of the event, a stream has not. */
  private get statusOfDrop(): ProcessStatus {
    return this.context.spec.kind === 'STREAMING' ? 'drop' : 'success';
  }

  /** Out of the ordinary way and settled for good: to the dead-letter topic where there is one. */
  async discard(
    message: InboundMessage,
    event: Event,
    topic: string,
    failure: Failure,
    status: ProcessStatus,
    ms = 0,
  ): Promise<Outcome> {
    if (this.hasLetters(topic) && !(await this.deadLetter(message, event, topic, failure))) {
      return retryLater(message.attempt);
    }
    this.count(topic, 'drop', status, ms);
    return DROP;
  }

  /** A delivery failed: what the policy says for this attempt. */
  private async fail(failure: Failure, message: InboundMessage, event: Event, topic: string): Promise<Outcome> {
    const { policy, spec, onParked, log } = this.context;
    const decision = policy(message.attempt, failure.code);
    if (decision.kind === 'retry') return decision;
    if (decision.kind === 'park' || spec.deadLetterTopic === '') {
      log.error(
        `parked pub/sub event ${event.id} of topic ${topic} after ${message.attempt} attempts: ${failure.reason}`,
      );
      const { attempt: attempts } = message;
      onParked({ event: event.id, attempts, reason: failure.reason, time: new Date().toISOString() });
      return { kind: 'retry', afterMs: Infinity };
    }
    if (!this.hasLetters(topic) || !(await this.deadLetter(message, event, topic, failure))) {
      return retryLater(message.attempt);
    }
    this.count(topic, 'drop', 'drop', 0);
    return DROP;
  }

  /** Whether what fails on the topic can go elsewhere: to the topic itself it would go at once and for ever. */
  private hasLetters(topic: string): boolean {
    const { deadLetterTopic } = this.context.spec;
    return deadLetterTopic !== '' && deadLetterTopic !== topic;
  }

  /** Whether the dead letter is safely on the broker. */
  private async deadLetter(message: InboundMessage, event: Event, topic: string, failure: Failure): Promise<boolean> {
    const { publisher, pubsub, spec, log } = this.context;
    const { deadLetterTopic: letters } = spec;
    try {
      await publisher.forward(pubsub, letters, this.letter(message, event, topic, failure));
    } catch (error) {
      const what = `error sending message to dead letter, origin topic: ${topic} dead letter topic ${letters}`;
      log.error(`${what} pub/sub event ${event.id} err: ${messageOf(error)}`);
      return false;
    }
    const what = `sent to dead letter topic ${letters}, origin topic: ${topic}`;
    log.warn(`${what}, pub/sub event ${event.id}: ${failure.reason}`);
    return true;
  }

  /** The message with why it died: as extensions of an event, as metadata of anything else, whose bytes stay as they are. */
  private letter(message: InboundMessage, event: Event, topic: string, failure: Failure): OutboundMessage {
    const { pubsub, appId } = this.context;
    const why: Record<string, string | number> = {
      dlreason: failure.reason,
      ...(failure.code !== undefined && { dlstatus: failure.code }),
      dlattempts: message.attempt,
      dltime: new Date().toISOString(),
      dlapp: appId,
      dltopic: topic,
    };
    const own = pubsub.broker.features.has('message-ttl') ? withoutTtl(message.metadata) : message.metadata;
    const metadata: Record<string, string> = { ...own, pubsubName: pubsub.name };
    if (!event.isMessage) {
      for (const [key, value] of Object.entries(why)) metadata[key] = String(value);
      return { data: message.data, contentType: message.contentType, metadata };
    }
    const bytes = asBuffer(message.data);
    const values = new Map(membersOf(bytes).map(({ key, from, to }) => [key, bytes.toString('utf8', from, to)]));
    for (const [key, value] of Object.entries(why)) values.set(key, JSON.stringify(value));
    return { data: assemble(values), contentType: message.contentType, metadata };
  }

  private count(topic: string, processed: ProcessStatus, status: ProcessStatus, ms: number): void {
    this.context.onProcessed(this.context.pubsub.name, topic, processed, status, ms);
  }
}
