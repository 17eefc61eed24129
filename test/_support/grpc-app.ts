/** An app over gRPC, as somebody would write it with the general library: real server, programmable answers. */

import { Server, ServerCredentials, type status } from '@grpc/grpc-js';
import type { InvokeRequest, InvokeResponse } from '../../gen/dapr/proto/common/v1/common.ts';
import {
  AppCallbackAlphaService,
  AppCallbackHealthCheckService,
  AppCallbackService,
  type TopicEventBulkRequest,
  type TopicEventBulkResponse,
  type TopicEventRequest,
  type TopicSubscription,
} from '../../gen/dapr/proto/runtime/v1/appcallback.ts';

export interface GrpcReceived {
  readonly event: TopicEventRequest;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface GrpcApp {
  readonly port: number;
  readonly received: readonly GrpcReceived[];
  readonly batches: readonly TopicEventBulkRequest[];
  /** Names of the other methods that were called. */
  readonly asked: readonly string[];
  close(): void;
}

type Invoked = InvokeResponse | number;

export interface GrpcAppOptions {
  /** Undefined: the app does not implement the question. */
  readonly subscriptions?: readonly Partial<TopicSubscription>[];
  /** A status of the callback, or a gRPC code below zero to fail with. */
  readonly reply?: (event: TopicEventRequest, nth: number) => number;
  /** The same, in its own time. */
  readonly replyLater?: (event: TopicEventRequest, nth: number) => Promise<number>;
  /** Whether the app is well; undefined: it does not implement the question. */
  readonly healthy?: () => boolean;
  readonly replyBulk?: (request: TopicEventBulkRequest) => TopicEventBulkResponse;
  /** What a call gets: an answer, or a gRPC code to fail with; undefined: it does not implement OnInvoke. */
  readonly invoke?: (request: InvokeRequest, headers: Record<string, unknown>) => Invoked | Promise<Invoked>;
  /** Serve bulk under its older name only. */
  readonly alphaOnly?: boolean;
  /** Serve bulk under its present name only. */
  readonly stableOnly?: boolean;
  readonly port?: number;
  /** How many deliveries are remembered; any number by default. */
  readonly keep?: number;
}

const subscription = (given: Partial<TopicSubscription>): TopicSubscription => ({
  pubsubName: 'pubsub',
  topic: '',
  metadata: {},
  routes: undefined,
  deadLetterTopic: '',
  bulkSubscribe: undefined,
  ...given,
});

export async function startGrpcApp(options: GrpcAppOptions): Promise<GrpcApp> {
  const {
    subscriptions,
    reply = () => 0,
    replyLater,
    replyBulk,
    invoke,
    healthy,
    alphaOnly = false,
    stableOnly = false,
    port = 0,
    keep = Infinity,
  } = options;
  const received: GrpcReceived[] = [];
  const batches: TopicEventBulkRequest[] = [];
  const asked: string[] = [];
  const server = new Server();
  type BulkCall = { request: TopicEventBulkRequest };
  type BulkCallback = (error: null, response: TopicEventBulkResponse) => void;
  const onBulk = ({ request }: BulkCall, callback: BulkCallback): void => {
    batches.push(request);
    const all = { statuses: request.entries.map(({ entryId }) => ({ entryId, status: 0 as const })) };
    callback(null, replyBulk?.(request) ?? all);
  };
  server.addService(AppCallbackService, {
    ...(subscriptions && {
      listTopicSubscriptions: (_call: unknown, callback: (error: null, response: object) => void) => {
        asked.push('ListTopicSubscriptions');
        callback(null, { subscriptions: subscriptions.map(subscription) });
      },
    }),
    ...(invoke && {
      onInvoke: async (
        call: { request: InvokeRequest; metadata: { getMap(): Record<string, unknown> } },
        callback: (error: object | null, response?: object) => void,
      ) => {
        const answer = await invoke(call.request, call.metadata.getMap());
        if (typeof answer === 'number') callback({ code: answer, details: 'as the test wants' });
        else callback(null, answer);
      },
    }),
    onTopicEvent: (
      call: { request: TopicEventRequest; metadata: { getMap(): Record<string, unknown> } },
      callback: (error: object | null, response?: object) => void,
    ) => {
      received.push({ event: call.request, headers: call.metadata.getMap() });
      if (received.length > keep) received.shift();
      const nth = received.filter(({ event }) => event.id === call.request.id).length;
      const say = (answer: number): void =>
        answer < 0
          ? callback({ code: -answer as status, details: 'as the test wants' })
          : callback(null, { status: answer });
      if (replyLater) void replyLater(call.request, nth).then(say);
      else say(reply(call.request, nth));
    },
    ...(!alphaOnly && { onBulkTopicEvent: onBulk }),
  });
  if (!stableOnly) server.addService(AppCallbackAlphaService, { onBulkTopicEventAlpha1: onBulk });
  if (healthy) {
    server.addService(AppCallbackHealthCheckService, {
      healthCheck: (_call: unknown, callback: (error: object | null, response?: object) => void) => {
        asked.push('HealthCheck');
        if (healthy()) callback(null, {});
        else callback({ code: 14, details: 'not well' });
      },
    });
  }
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, got) =>
      error ? reject(error) : resolve(got),
    );
  });
  return { port: bound, received, batches, asked, close: () => server.forceShutdown() };
}
