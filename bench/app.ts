/** The app beside the sidecar: takes events over HTTP, gRPC or a stream, answers success at once, and counts. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import {
  AppCallbackService,
  type ListTopicSubscriptionsResponse,
  type TopicEventRequest,
  type TopicEventResponse,
} from '../gen/dapr/proto/runtime/v1/appcallback.ts';
import { DaprClient } from '../gen/dapr/proto/runtime/v1/dapr.ts';
import type { SubscribeTopicEventsResponseAlpha1 } from '../gen/dapr/proto/runtime/v1/pubsub.ts';
import { now, quantile, readStamp } from './payload.ts';
import { serve } from './worker.ts';

export type AppQuestion =
  | { readonly ask: 'listen'; readonly protocol: 'http' | 'grpc'; readonly topic: string }
  /** Opens a stream to the sidecar; answered when the subscription is live. */
  | { readonly ask: 'stream'; readonly port: number; readonly topic: string }
  /** Answered when `count` different messages of `run` have arrived; fails after `timeoutMs`. */
  | { readonly ask: 'arrived'; readonly run: number; readonly count: number; readonly timeoutMs: number };

export interface AppAnswer {
  readonly port: number;
  /** Different messages of the run so far, and how many came again. */
  readonly count: number;
  readonly duplicates: number;
  /** From before the publish request to the arrival here. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** What arrived of one run. */
class Arrivals {
  readonly seen = new Set<number>();
  readonly took: number[] = [];
  duplicates = 0;

  add(seq: number, micros: number): void {
    if (this.seen.has(seq)) this.duplicates++;
    this.seen.add(seq);
    this.took.push(micros / 1000);
  }
}

const runs = new Map<number, Arrivals>();
let onArrival = (): void => undefined;
let port = 0;

function arrivals(run: number): Arrivals {
  const known = runs.get(run) ?? new Arrivals();
  runs.set(run, known);
  return known;
}

function take(body: Buffer): void {
  const stamp = readStamp(body);
  if (!stamp) return;
  arrivals(stamp.run).add(stamp.seq, now() - stamp.sent);
  onArrival();
}

function listenHttp(topic: string): Promise<number> {
  const subscriptions = JSON.stringify([{ pubsubname: 'pubsub', topic, route: '/events' }]);
  const server = createServer((request, response) => {
    if (request.url === '/dapr/subscribe') {
      response.setHeader('content-type', 'application/json').end(subscriptions);
    } else if (request.url === '/events') {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        take(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks));
        response.end();
      });
    } else {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)));
}

function listenGrpc(topic: string): Promise<number> {
  const subscription = { pubsubName: 'pubsub', topic, metadata: {}, deadLetterTopic: '' };
  const list: ListTopicSubscriptionsResponse = {
    subscriptions: [{ ...subscription, routes: undefined, bulkSubscribe: undefined }],
  };
  type Reply<T> = (error: null, value: T) => void;
  const server = new Server();
  server.addService(AppCallbackService, {
    listTopicSubscriptions: (_: unknown, reply: Reply<ListTopicSubscriptionsResponse>) => reply(null, list),
    onTopicEvent: ({ request }: { request: TopicEventRequest }, reply: Reply<TopicEventResponse>) => {
      take(Buffer.from(request.data));
      reply(null, { status: 0 });
    },
  });
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
}

function openStream(sidecarPort: number, topic: string): Promise<void> {
  const client = new DaprClient(`127.0.0.1:${sidecarPort}`, credentials.createInsecure());
  const stream = client.subscribeTopicEventsAlpha1();
  const spec = { pubsubName: 'pubsub', topic, metadata: {} };
  stream.write({ subscribeTopicEventsRequestType: { $case: 'initialRequest', value: spec } });
  return new Promise((resolve, reject) => {
    stream.on('error', reject);
    stream.on('data', ({ subscribeTopicEventsResponseType: message }: SubscribeTopicEventsResponseAlpha1) => {
      if (message?.$case !== 'eventMessage') return resolve();
      take(Buffer.from(message.value.data));
      const value = { id: message.value.id, status: { status: 0 as const } };
      stream.write({ subscribeTopicEventsRequestType: { $case: 'eventProcessed', value } });
    });
  });
}

function arrived(run: number, count: number, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const { seen } = arrivals(run);
    const timer = setTimeout(
      () => reject(new Error(`only ${seen.size} of ${count} messages arrived within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    onArrival = () => {
      if (seen.size < count) return;
      clearTimeout(timer);
      onArrival = () => undefined;
      resolve();
    };
    onArrival();
  });
}

serve(async (question: AppQuestion): Promise<AppAnswer> => {
  const nothing = { port, count: 0, duplicates: 0, p50Ms: 0, p99Ms: 0 };
  if (question.ask === 'listen') {
    port = await (question.protocol === 'http' ? listenHttp : listenGrpc)(question.topic);
    return { ...nothing, port };
  }
  if (question.ask === 'stream') {
    await openStream(question.port, question.topic);
    return nothing;
  }
  await arrived(question.run, question.count, question.timeoutMs);
  const { seen, duplicates, took } = arrivals(question.run);
  const sorted = took.toSorted((a, b) => a - b);
  return { port, count: seen.size, duplicates, p50Ms: quantile(sorted, 0.5), p99Ms: quantile(sorted, 0.99) };
});
