/** Streaming subscriptions (contract section 8): a stream is a recipient with a subscription of its own. */

import type { SubscribeTopicEventsRequestInitialAlpha1 } from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import {
  SubscribeTopicEventsRequestAlpha1,
  SubscribeTopicEventsResponseAlpha1,
} from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { StreamRecipient, type StreamOptions } from '../channels/stream.ts';
import type { Subscription } from '../core/broker.ts';
import { messageOf, SidecarError } from '../core/errors.ts';
import type { Publisher } from '../core/publisher.ts';
import type { SubscriptionSpec } from '../core/subscription.ts';
import type { Subscriptions } from '../core/subscriptions.ts';
import type { Log } from '../lib/log.ts';
import type { ServerCall } from './call.ts';
import { statusOf } from './status.ts';

export interface StreamsContext extends StreamOptions {
  readonly publisher: Publisher;
  readonly subscriptions: Subscriptions;
  readonly log: Log;
}

/** The streams that are open. */
export class Streams {
  private readonly context: StreamsContext;
  private readonly open = new Set<Stream>();
  private connections = 0;

  constructor(context: StreamsContext) {
    this.context = context;
  }

  /** What their clients subscribed to. */
  get specs(): readonly SubscriptionSpec[] {
    return [...this.open].flatMap((stream) => stream.spec ?? []);
  }

  /** Serves one call from its first message to its end. */
  serve(call: ServerCall): void {
    const stream = new Stream(call, this.context, this.connections++, () => this.open.delete(stream));
    this.open.add(stream);
  }

  /** Ends the streams on a component, before it goes or is replaced. */
  async closeOf(pubsubName: string): Promise<void> {
    const leaving = [...this.open].filter(({ spec }) => spec?.pubsubName === pubsubName);
    await Promise.all(leaving.map((stream) => stream.end(CLOSED)));
  }

  /** Tells every client that it is over. */
  close(): void {
    for (const stream of this.open) void stream.end(CLOSED);
  }
}

const INITIAL_RESPONSE = SubscribeTopicEventsResponseAlpha1.encode({
  subscribeTopicEventsResponseType: { $case: 'initialResponse', value: {} },
}).finish();

const CLOSED = new SidecarError('stream-closed', 'stream closed');

class Stream {
  spec: SubscriptionSpec | undefined;
  private readonly call: ServerCall;
  private readonly context: StreamsContext;
  private readonly number: number;
  private readonly onEnd: () => void;
  private readonly recipient: StreamRecipient;
  private subscription: Promise<Subscription> | undefined;
  private ended = false;

  constructor(call: ServerCall, context: StreamsContext, number: number, onEnd: () => void) {
    this.call = call;
    this.context = context;
    this.number = number;
    this.onEnd = onEnd;
    this.recipient = new StreamRecipient(call, context);
    call.onCancelled(() => void this.end());
    call.read({
      message: (bytes) => this.onMessage(SubscribeTopicEventsRequestAlpha1.decode(bytes)),
      end: () => void this.end(new SidecarError('stream-closed', 'EOF')),
    });
  }

  /** Ends the subscription, giving back what was not answered, and the call: with `error` as its status where there is one. */
  async end(error?: SidecarError): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    this.onEnd();
    if (error) this.call.end(statusOf(error));
    await this.unsubscribe();
  }

  private onMessage({ subscribeTopicEventsRequestType: request }: SubscribeTopicEventsRequestAlpha1): void {
    if (this.ended) return;
    if (this.subscription === undefined) {
      if (request?.$case === 'initialRequest') this.subscribe(request.value);
      else void this.end(refused('initial request is required'));
    } else if (request?.$case === 'eventProcessed') {
      const { id, status } = request.value;
      if (!this.recipient.processed(id, status)) {
        this.context.log.error(`no client stream expecting publish response for id ${id} ConnectionID${this.number}`);
      }
    } else {
      void this.end(refused('duplicate initial request received'));
    }
  }

  private subscribe(initial: SubscribeTopicEventsRequestInitialAlpha1): void {
    this.subscription = this.openSubscription(initial);
    this.subscription.then(
      () => {
        if (this.ended) return;
        this.call.write(INITIAL_RESPONSE);
        this.recipient.start();
      },
      (error: unknown) => void this.end(SidecarError.from(error)),
    );
  }

  private async openSubscription(initial: SubscribeTopicEventsRequestInitialAlpha1): Promise<Subscription> {
    const { publisher, subscriptions, log } = this.context;
    const { pubsubName, topic, metadata, deadLetterTopic = '' } = initial;
    if (pubsubName === '') throw refused('pubsubName is required');
    if (topic === '') throw refused('topic is required');
    publisher.find({ pubsubName, topic, metadata: {} });
    const rules = [{ match: '', path: '/' }];
    this.spec = { name: '', kind: 'STREAMING', pubsubName, topic, rules, metadata, deadLetterTopic };
    log.info(`Subscribing to pubsub '${pubsubName}' topic '${topic}' ConnectionID ${this.number}`);
    try {
      return await subscriptions.openOne(this.spec, this.recipient);
    } catch (error) {
      throw refused(`failed to create subscription for ${pubsubName}: ${messageOf(error)}`);
    }
  }

  private async unsubscribe(): Promise<void> {
    const subscription = await this.subscription?.catch(() => undefined);
    await subscription?.close(AbortSignal.abort());
    this.recipient.close();
    if (subscription && this.spec) {
      this.context.log.info(`Unsubscribed from pubsub '${this.spec.pubsubName}' topic '${this.spec.topic}'`);
    }
  }
}

const refused = (message: string): SidecarError => new SidecarError('stream-refused', message);
