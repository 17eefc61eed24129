/** The app over gRPC (contract section 2). */

import { randomUUID } from 'node:crypto';
import type { ClientHttp2Stream } from 'node:http2';
import { HTTPExtension_Verb, InvokeRequest, InvokeResponse } from '../../gen/dapr/proto/common/v1/common.ts';
import {
  AppCallbackAlphaService,
  AppCallbackHealthCheckService,
  AppCallbackService,
  ListTopicSubscriptionsResponse,
  TopicEventBulkResponse,
  TopicEventResponse,
  type TopicSubscription,
} from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { asBuffer, BULK_TYPE } from '../core/cloud-event.ts';
import { GrpcCode, messageOf } from '../core/errors.ts';
import { invokeFailed, RefusedByApp, type Invocation, type Invoked, type RelayedCall } from '../core/invocation.ts';
import type { Answer, AppChannel, TopicEvent } from '../core/recipient.ts';
import { pauseOf, type Retry } from '../core/retry-policy.ts';
import type { SubscriptionSpec } from '../core/subscription.ts';
import { httpStatusOf } from '../core/status-mapping.ts';
import type { Traffic } from '../core/traffic.ts';
import { bulkOptionsOf } from '../core/subscription-document.ts';
import { hostAndPort } from '../lib/host-and-port.ts';
import type { Log } from '../lib/log.ts';
import { Semaphore } from '../lib/semaphore.ts';
import { sleep } from '../lib/sleep.ts';
import { callMetadataOf, invocationMetadata, pubsubHeader, withToken, type AppToken } from './app-headers.ts';
import { GrpcCallError } from './call-end.ts';
import { GrpcClient } from './grpc-client.ts';
import { encode } from './message-writer.ts';
import { answerOfGrpcError, answersByEntry, answerOfStatus } from './outcome.ts';
import { RelayClient } from './relay-client.ts';
import { eventBatch, topicEvent, type UnknownData } from './topic-event.ts';

export interface GrpcChannelOptions {
  readonly address: string;
  readonly port: number;
  /** The app's certificate is not verified: it is on this machine and usually self-signed. */
  readonly tls: boolean;
  /** Sent to the app with every call. */
  readonly token: AppToken;
  readonly unknownData: UnknownData;
  /** Events and calls in hand at once; 0: no limit. */
  readonly maxConcurrency: number;
  /** A connection without calls for about so long is closed. */
  readonly idleMs: number;
  /** Longest answer that is read; more is an error. */
  readonly maxBodyBytes: number;
  /** Undefined where nobody counts. */
  readonly traffic: Traffic | undefined;
  /** For asking what the app subscribes to. */
  readonly initRetry: Retry;
  readonly log: Log;
}

const BULK_METHODS = [AppCallbackService.onBulkTopicEvent, AppCallbackAlphaService.onBulkTopicEventAlpha1] as const;

const HEALTH = AppCallbackHealthCheckService.healthCheck.path;

export class GrpcChannel implements AppChannel {
  readonly turns: Semaphore | undefined;
  private readonly options: GrpcChannelOptions;
  private readonly client: GrpcClient;
  /** Calls that are passed on are as long as others want: they do not take what the app allows on a connection. */
  private readonly relayed: RelayClient;
  /** Of BULK_METHODS, the one that the app answered last. */
  private bulkMethod: 0 | 1 = 0;

  constructor(options: GrpcChannelOptions) {
    const { tls, address: host, port, maxBodyBytes: maxMessageBytes, idleMs, traffic } = options;
    this.options = options;
    this.turns = options.maxConcurrency > 0 ? new Semaphore(options.maxConcurrency) : undefined;
    const authority = `${tls ? 'https' : 'http'}://${hostAndPort(host, port)}`;
    this.relayed = new RelayClient(authority, idleMs);
    const onCall: Traffic['grpcCalled'] | undefined =
      traffic &&
      ((call) => (call.method === HEALTH ? traffic.grpcProbed(call.code, call.ms) : traffic.grpcCalled(call)));
    this.client = new GrpcClient({ host, port, tls, maxMessageBytes, idleMs, onCall });
  }

  async deliver(event: TopicEvent, signal: AbortSignal): Promise<Answer> {
    const { path } = AppCallbackService.onTopicEvent;
    try {
      const message = encode(topicEvent, { event, path: event.path, unknown: this.options.unknownData });
      const answer = await this.call(path, message, callMetadataOf(event), signal);
      return answerOfStatus(TopicEventResponse.decode(answer).status);
    } catch (error) {
      return failure(error);
    }
  }

  async deliverBulk(events: readonly TopicEvent[], signal: AbortSignal): Promise<readonly Answer[]> {
    const [first] = events;
    if (!first) return [];
    const { pubsubName, topic, path } = first;
    try {
      const entries = events.map((event) => ({ entryId: randomUUID(), event }));
      const request = { id: randomUUID(), metadata: { pubsubName }, topic, pubsubName, type: BULK_TYPE, path };
      const message = encode(eventBatch, { request, entries, unknown: this.options.unknownData });
      const answer = await this.callBulk(message, pubsubHeader(first), signal);
      const { statuses } = TopicEventBulkResponse.decode(answer);
      const given = new Map(statuses.map(({ entryId, status }) => [entryId, answerOfStatus(status)]));
      return answersByEntry(
        given,
        entries.map(({ entryId }) => entryId),
        this.options.log,
      );
    } catch (error) {
      return events.map(() => failure(error));
    }
  }

  async subscriptions(signal: AbortSignal): Promise<readonly SubscriptionSpec[]> {
    const { path } = AppCallbackService.listTopicSubscriptions;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.client.call(path, new Uint8Array(), withToken([], this.options.token), signal);
        return ListTopicSubscriptionsResponse.decode(answer).subscriptions.map(specOf);
      } catch (error) {
        if (error instanceof GrpcCallError && error.code === GrpcCode.UNIMPLEMENTED) {
          this.options.log.info('pubsub subscriptions: gRPC app does not implement ListTopicSubscriptions');
          return [];
        }
        const code = error instanceof GrpcCallError ? error.code : undefined;
        const pause = pauseOf(this.options.initRetry, attempt, code);
        if (pause === undefined || signal.aborted) throw error;
        await sleep(pause, signal);
      }
    }
  }

  /** There is nothing to tell a gRPC app. */
  async configure(): Promise<void> {}

  async probe(signal: AbortSignal): Promise<void> {
    await this.client.call(HEALTH, new Uint8Array(), [], signal);
  }

  async invoke(call: Invocation, signal: AbortSignal): Promise<Invoked> {
    const { id, method, verb, query: querystring, contentType, body, typeUrl } = call;
    const request = {
      method: method.replace(/^\/+/, ''),
      data: { typeUrl, value: asBuffer(body) },
      contentType,
      httpExtension: { verb: HTTPExtension_Verb[verb as keyof typeof HTTPExtension_Verb] ?? 0, querystring },
    };
    try {
      const { path } = AppCallbackService.onInvoke;
      const message = encode(InvokeRequest, request);
      const send = (): Promise<Buffer> => this.call(path, message, invocationMetadata(call), signal);
      const answer = await (this.turns ? this.turns.run(send) : send());
      const { data, contentType: type } = InvokeResponse.decode(answer);
      const { value = Buffer.alloc(0), typeUrl: of = '' } = data ?? {};
      return { status: 200, contentType: type, headers: [], body: value, typeUrl: of };
    } catch (error) {
      if (!(error instanceof GrpcCallError)) throw invokeFailed(id, messageOf(error), error);
      throw new RefusedByApp(error.message, { grpc: error.code, http: httpStatusOf(error.code) });
    }
  }

  relay({ path, headers }: RelayedCall, signal: AbortSignal): ClientHttp2Stream {
    return this.relayed.open(path, withToken([...headers], this.options.token), signal);
  }

  async close(): Promise<void> {
    this.client.close();
    this.relayed.close();
  }

  private call(path: string, message: Uint8Array, metadata: string[], signal: AbortSignal): Promise<Buffer> {
    return this.client.call(path, message, withToken(metadata, this.options.token), signal);
  }

  /** Older apps serve the method under another name only, and one may come back as a newer one. */
  private async callBulk(message: Uint8Array, metadata: string[], signal: AbortSignal): Promise<Buffer> {
    const known = this.bulkMethod;
    const call = (method: 0 | 1): Promise<Buffer> => this.call(BULK_METHODS[method].path, message, metadata, signal);
    try {
      return await call(known);
    } catch (error) {
      if (!(error instanceof GrpcCallError) || error.code !== GrpcCode.UNIMPLEMENTED) throw error;
      const other = known === 0 ? 1 : 0;
      if (other === 1) {
        this.options.log.warn(`falling back to OnBulkTopicEventAlpha1 due to unimplemented error: ${error.message}`);
      }
      const answer = await call(other);
      this.bulkMethod = other;
      return answer;
    }
  }
}

function failure(error: unknown): Answer {
  if (error instanceof GrpcCallError) return answerOfGrpcError(error.code, error.message);
  return { kind: 'retry', reason: `the event cannot be written or the answer of the app not read: ${String(error)}` };
}

/** Without routes the app is called with an empty path; paths are taken as they are. */
function specOf(subscription: TopicSubscription): SubscriptionSpec {
  const { pubsubName, topic, metadata, routes, deadLetterTopic, bulkSubscribe } = subscription;
  const rules = [...(routes?.rules ?? [])];
  if (routes?.default || rules.length === 0) rules.push({ match: '', path: routes?.default ?? '' });
  const bulk = bulkSubscribe?.enabled
    ? bulkOptionsOf(bulkSubscribe.maxMessagesCount, bulkSubscribe.maxAwaitDurationMs)
    : undefined;
  return {
    name: '',
    kind: 'PROGRAMMATIC',
    pubsubName,
    topic,
    rules,
    metadata,
    deadLetterTopic,
    ...(bulk && { bulk }),
  };
}
