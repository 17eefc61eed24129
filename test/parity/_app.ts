/** One app that is written once and speaks HTTP or gRPC: what it got has the same shape over both. */

import type { ExecutionContext } from 'ava';
import type { TopicSubscription } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

export type Protocol = 'http' | 'grpc';

/** A subscription as an HTTP app lists it. */
export interface Subscribed {
  readonly pubsubname?: string;
  readonly topic: string;
  readonly route?: string;
  readonly routes?: { readonly default?: string; readonly rules?: readonly { match?: string; path: string }[] };
  readonly metadata?: Readonly<Record<string, string>>;
  readonly deadLetterTopic?: string;
  readonly bulkSubscribe?: { enabled: boolean; maxMessagesCount?: number; maxAwaitDurationMs?: number };
}

export interface Delivered {
  readonly path: string;
  readonly topic: string;
  /** What the app reads as the data: a JSON value, a text, or bytes as base64 behind `base64:`. */
  readonly data: unknown;
  readonly event: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface ParityApp {
  readonly port: number;
  readonly received: () => readonly Delivered[];
  /** Sizes of the batches that came, and their paths. */
  readonly batches: () => readonly { readonly path: string; readonly size: number; readonly at: number }[];
  readonly asked: () => readonly string[];
  /** Waits until so many events have come, and returns them. */
  got(count: number): Promise<readonly Delivered[]>;
}

type Answer = 'success' | 'retry' | 'drop' | 'fail';

export async function startParityApp(
  t: ExecutionContext,
  protocol: Protocol,
  subscribe: readonly Subscribed[] | undefined,
  answer: (event: { path: string; topic: string }, nth: number) => Answer | Promise<Answer> = () => 'success',
): Promise<ParityApp> {
  const app = protocol === 'http' ? await overHttp(t, subscribe, answer) : await overGrpc(t, subscribe, answer);
  return {
    ...app,
    got: (count) => until(() => app.received().length >= count && app.received(), `${count} events came`),
  };
}

const HTTP = {
  success: 200,
  retry: { status: 200, body: '{"status":"RETRY"}' },
  drop: { status: 200, body: '{"status":"DROP"}' },
  fail: 503,
} as const;

type Started = Omit<ParityApp, 'got'>;
type Answering = NonNullable<Parameters<typeof startParityApp>[3]>;

async function overHttp(
  t: ExecutionContext,
  subscribe: readonly Subscribed[] | undefined,
  answer: Answering,
): Promise<Started> {
  const app = await startHttpApp({
    ...(subscribe && { subscribe: subscribe.map((one) => ({ pubsubname: 'pubsub', ...one })) }),
    reply: async ({ path, event }, nth) =>
      Array.isArray(event['entries']) ? 200 : HTTP[await answer({ path, topic: String(event['topic']) }, nth)],
  });
  t.teardown(() => app.close());
  const isBatch = (event: Readonly<Record<string, unknown>>): boolean => event['type'] === 'com.dapr.event.sent.bulk';
  return {
    port: app.port,
    asked: () => app.asked,
    received: () =>
      app.received
        .filter(({ event }) => !isBatch(event))
        .map(({ path, headers, event }) => ({
          path,
          headers,
          event,
          topic: String(event['topic']),
          data: event['data_base64'] === undefined ? event['data'] : `base64:${String(event['data_base64'])}`,
        })),
    batches: () =>
      app.received
        .filter(({ event }) => isBatch(event))
        .map(({ path, event, at }) => ({ path, at, size: (event['entries'] as unknown[]).length })),
  };
}

const GRPC = { success: 0, retry: 1, drop: 2, fail: -2 } as const;

async function overGrpc(
  t: ExecutionContext,
  subscribe: readonly Subscribed[] | undefined,
  answer: Answering,
): Promise<Started> {
  const times: number[] = [];
  const app = await startGrpcApp({
    ...(subscribe && { subscriptions: subscribe.map(grpcSubscription) }),
    replyLater: async (event, nth) => GRPC[await answer(event, nth)],
    replyBulk: ({ entries }) => {
      times.push(performance.now());
      return { statuses: entries.map(({ entryId }) => ({ entryId, status: 0 })) };
    },
  });
  t.teardown(() => app.close());
  return {
    port: app.port,
    asked: () => app.asked,
    received: () =>
      app.received.map(({ event, headers }) => ({
        path: event.path,
        topic: event.topic,
        headers,
        event: event as never,
        data: dataOf(event.dataContentType, Buffer.from(event.data)),
      })),
    batches: () => app.batches.map(({ path, entries }, i) => ({ path, size: entries.length, at: times[i] as number })),
  };
}

function dataOf(type: string, data: Buffer): unknown {
  if (/json$/.test(type)) return JSON.parse(data.toString()) as unknown;
  return /octet/.test(type) ? `base64:${data.toString('base64')}` : data.toString();
}

function grpcSubscription(given: Subscribed): Partial<TopicSubscription> {
  const { route, routes, bulkSubscribe, metadata = {}, deadLetterTopic = '', topic, pubsubname = 'pubsub' } = given;
  const rules = (routes?.rules ?? []).map(({ match = '', path }) => ({ match, path }));
  return {
    pubsubName: pubsubname,
    topic,
    metadata,
    deadLetterTopic,
    routes: { rules, default: routes?.default ?? (routes ? '' : (route ?? '')) },
    bulkSubscribe: bulkSubscribe && { maxMessagesCount: 0, maxAwaitDurationMs: 0, ...bulkSubscribe },
  };
}
