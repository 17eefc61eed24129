/**
 * Publishing: find the component, allow the topic, wrap the payload, send, say truthfully what failed. One line for
 * both protocols and for one event as for many (contract 1.4, 1.5).
 */

import type { Broker, OutboundMessage, PublishFailure } from './broker.ts';
import { CLOUD_EVENT_JSON, Envelopes, type EnvelopeContext } from './cloud-event.ts';
import { messageOf, SidecarError } from './errors.ts';
import type { Publish } from './guarded-publish.ts';
import { isRaw, type Metadata } from './metadata.ts';
import { publishCode } from './publish-code.ts';
import type { Resiliency } from './resiliency.ts';
import type { TopicScopes } from './scopes.ts';
import type { Trace } from './trace.ts';

/** A loaded pub/sub component. */
export interface PubSub {
  readonly name: string;
  readonly type: string;
  readonly version: string;
  readonly broker: Broker;
  /** Consumer group on the broker. */
  readonly group: string;
  readonly scopes: TopicScopes;
  /** Put before every topic on the broker; empty unless the component is namespace-scoped (contract 9.5). */
  readonly topicPrefix: string;
}

export type PubSubs = ReadonlyMap<string, PubSub>;

export interface PublishEntry {
  /** Names the entry in failures; empty for a single publish. */
  readonly id: string;
  readonly data: Uint8Array;
  readonly contentType: string;
  readonly metadata: Metadata;
  /** Its own, where it is not the request's. */
  readonly trace?: Trace;
}

export interface PublishRequest {
  readonly pubsubName: string;
  readonly topic: string;
  /** Metadata of the whole request; decides rawPayload for all entries. */
  readonly metadata: Metadata;
  readonly trace: Trace;
  /** W3C baggage that goes on with every event; absent or empty: none. */
  readonly baggage?: string;
  /** Decides which list of `matching` a retry goes by. */
  readonly protocol: 'grpc' | 'http';
}

/** A publish that failed, in part or whole; `failures` names the entries. */
export class PublishError extends SidecarError {
  readonly failures: readonly { readonly entryId: string; readonly error: string }[];

  constructor(message: string, resource: string, info: Metadata, failures: PublishError['failures']) {
    super('publish-failed', message, { resource, info });
    this.failures = failures;
  }
}

/** How long a dead letter is tried again. */
const FORWARD_MS = 30_000;

/** Called once for every publish that reached a broker. */
export type OnPublished = (published: Published) => void;

export interface Published {
  readonly pubsub: string;
  readonly topic: string;
  readonly ms: number;
  /** How many entries the broker did not take. */
  readonly failed: number;
  /** Whether the caller published a list. */
  readonly isBulk: boolean;
}

interface Sending {
  readonly protocol: 'grpc' | 'http';
  readonly isBulk: boolean;
  readonly signal?: AbortSignal;
}

export class Publisher {
  private readonly pubSubs: PubSubs;
  private readonly appId: string;
  private readonly resiliency: Resiliency;
  private readonly onPublished: OnPublished;

  constructor(pubSubs: PubSubs, appId: string, resiliency: Resiliency, onPublished: OnPublished) {
    this.pubSubs = pubSubs;
    this.appId = appId;
    this.resiliency = resiliency;
    this.onPublished = onPublished;
  }

  /** Resolves when the broker has acknowledged every entry. Throws SidecarError; PublishError when the broker refused some. */
  async publish(request: PublishRequest, entries: readonly PublishEntry[]): Promise<void> {
    const pubsub = this.find(request);
    const raw = isRaw(request.metadata, pubsub.name);
    refuseBadIds(entries, pubsub.name, request.topic, this.appId);
    const messages = raw ? entries : this.wrap(entries, pubsub, request);
    this.allow(pubsub, request.topic);
    const { topic, protocol } = request;
    const failures = await this.send(pubsub, topic, messages, { protocol, isBulk: !isSingle(entries) });
    if (failures.length > 0) throw publishError(pubsub.name, request.topic, entries, failures);
  }

  /** Sends bytes as they are, for dead letters. Throws like `publish`. */
  async forward(pubsub: PubSub, topic: string, message: OutboundMessage): Promise<void> {
    this.allow(pubsub, topic);
    const failures = await this.send(pubsub, topic, [message], {
      protocol: 'grpc',
      isBulk: false,
      signal: AbortSignal.timeout(FORWARD_MS),
    });
    if (failures[0]) throw failures[0].error;
  }

  /** The component of a request; throws when there is none or the request names no topic. */
  find({ pubsubName, topic, metadata }: Pick<PublishRequest, 'pubsubName' | 'topic' | 'metadata'>): PubSub {
    const details = { resource: pubsubName, info: metadata };
    if (pubsubName === '') throw new SidecarError('pubsub-name-empty', 'pubsub name is empty', details);
    const pubsub = this.pubSubs.get(pubsubName);
    if (!pubsub) throw new SidecarError('pubsub-not-found', `pubsub ${pubsubName} is not found`, details);
    if (topic === '') throw new SidecarError('topic-empty', `topic is empty in pubsub ${pubsubName}`, details);
    return pubsub;
  }

  private allow(pubsub: PubSub, topic: string): void {
    if (pubsub.scopes.mayPublish(topic)) return;
    const message = `topic ${topic} is not allowed for app id ${this.appId}`;
    throw new SidecarError('topic-forbidden', message, { resource: pubsub.name, info: { topic, error: message } });
  }

  private wrap(entries: readonly PublishEntry[], pubsub: PubSub, request: PublishRequest): readonly OutboundMessage[] {
    const context: EnvelopeContext = {
      pubsubName: pubsub.name,
      topic: request.topic,
      appId: this.appId,
      trace: request.trace,
      baggage: request.baggage ?? '',
      brokerExpires: pubsub.broker.features.has('message-ttl'),
    };
    const envelopes = new Envelopes(context);
    return entries.map(({ data, contentType, metadata, trace }) => {
      const own = trace ? new Envelopes({ ...context, trace }) : envelopes;
      return { data: own.toEvent(data, contentType, metadata), contentType: CLOUD_EVENT_JSON, metadata };
    });
  }

  private async send(
    pubsub: PubSub,
    topic: string,
    messages: readonly OutboundMessage[],
    { protocol, isBulk, signal }: Sending,
  ): Promise<readonly PublishFailure[]> {
    if (messages.length === 0) return [];
    const started = performance.now();
    const publish: Publish = (some) =>
      pubsub.broker
        .publish(pubsub.topicPrefix + topic, some)
        .catch((error: unknown) => some.map((_, index) => ({ index, error: SidecarError.from(error) })));
    const failures = await this.resiliency.publish(pubsub.name, messages, publish, {
      codeOf: (error) => publishCode(error, protocol),
      ...(signal && { signal }),
    });
    const ms = performance.now() - started;
    this.onPublished({ pubsub: pubsub.name, topic, ms, failed: failures.length, isBulk });
    return failures;
  }
}

const isSingle = (entries: readonly PublishEntry[]): boolean => entries.length === 1 && entries[0]?.id === SINGLE;

function refuseBadIds(entries: readonly PublishEntry[], name: string, topic: string, appId: string): void {
  if (isSingle(entries)) return;
  const seen = new Set(entries.map((entry) => entry.id));
  if (seen.size === entries.length && !seen.has('')) return;
  const error = 'entryId is duplicated or not present for entry';
  throw new SidecarError(
    'entries-invalid',
    `error marshaling events to bytes for topic ${topic} pubsub ${name}. error: ${error}`,
    { resource: name, info: { appID: appId, error } },
  );
}

/** The id of the one entry of a single publish, which needs none. */
export const SINGLE = '\0';

function publishError(
  name: string,
  topic: string,
  entries: readonly PublishEntry[],
  failures: readonly PublishFailure[],
): PublishError {
  const first = messageOf(failures[0]?.error);
  return new PublishError(
    `error when publishing to topic ${topic} in pubsub ${name}: ${first}`,
    name,
    { topic, error: first },
    failures.map(({ index, error }) => ({ entryId: entries[index]?.id ?? '', error: error.message })),
  );
}
