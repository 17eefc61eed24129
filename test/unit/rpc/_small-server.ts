/** A server of small means, and clients that write single frames. */

import { connect, type ClientHttp2Session, type ClientHttp2Stream, type SessionOptions } from 'node:http2';
import type { ExecutionContext } from 'ava';
import { PublishEventRequest } from '../../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { ApiAccess } from '../../../src/core/api-access.ts';
import type { RelayClient } from '../../../src/channels/relay-client.ts';
import { framed } from '../../../src/channels/framing.ts';
import { ConnectionLimit } from '../../../src/lib/connection-limit.ts';
import { MemoryBudget } from '../../../src/lib/memory-budget.ts';
import type { AnsweredCall } from '../../../src/rpc/bind.ts';
import type { ServerCall } from '../../../src/rpc/call.ts';
import type { DaprApi } from '../../../src/rpc/dapr.ts';
import { startGrpcServer } from '../../../src/rpc/server.ts';
import type { Streams } from '../../../src/rpc/subscribe.ts';
import { until } from '../../_support/until.ts';

export const BUDGET_BYTES = 1 << 20;
export const MESSAGE_BYTES = 200_000;

export interface Stage {
  readonly port: number;
  readonly budget: MemoryBudget;
  readonly calls: AnsweredCall[];
  readonly streams: ServerCall[];
  /** Publishes that wait for it. */
  readonly held: (() => void)[];
  /** To whom calls of other services go. */
  readonly app: RelayClient | undefined;
}

/** Publishes to the topic `held` wait to be let go, an answer about the sidecar is long. */
export async function serve(t: ExecutionContext, app?: RelayClient, budgetBytes = BUDGET_BYTES): Promise<Stage> {
  const budget = new MemoryBudget(budgetBytes);
  const stage: Stage = { port: 0, budget, calls: [], streams: [], held: [], app };
  const api: Partial<DaprApi> = {
    publishEvent: async ({ topic }) => {
      if (topic === 'held') await new Promise<void>((resolve) => stage.held.push(resolve));
      return {};
    },
    invokeService: async () => ({ data: { typeUrl: '', value: Buffer.alloc(MESSAGE_BYTES) }, contentType: '' }),
  };
  const server = await startGrpcServer(api as DaprApi, {
    addresses: ['127.0.0.1'],
    port: { port: 0, search: false },
    socket: '',
    maxBodyBytes: 2 * MESSAGE_BYTES,
    maxHeaderBytes: 65_536,
    budget,
    limit: new ConnectionLimit(100, () => undefined),
    streams: {
      serve: (call: ServerCall) => void stage.streams.push(call),
      close: () => undefined,
    } as unknown as Streams,
    relay: ({ path, headers }, signal) => (stage.app as RelayClient).open(path, headers, signal),
    ready: () => true,
    onReadyChange: () => () => undefined,
    apiToken: '',
    access: new ApiAccess([], []),
    tracer: undefined,
    onCall: (call) => void stage.calls.push(call),
    onError: undefined,
    onMessage: undefined,
  });
  t.teardown(async () => {
    await server.close(AbortSignal.abort());
    await until(() => budget['kept'] === 0, 'nothing is counted any more');
  });
  return { ...stage, port: server.port };
}

export function clientOf(t: ExecutionContext, { port }: Stage, options: SessionOptions = {}) {
  const session = connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000, ...options });
  const goaways: number[] = [];
  session.on('error', () => undefined).on('goaway', (code) => goaways.push(code));
  t.teardown(() => session.destroy());
  return { session, goaways };
}

export interface Call {
  readonly stream: ClientHttp2Stream;
  status: string | undefined;
  /** Of the reset, undefined before the stream is closed. */
  reset: number | undefined;
}

/** A call that sends these bytes and leaves its end open. */
export function begin(session: ClientHttp2Session, method: string, bytes: Uint8Array): Call {
  const path = method.startsWith('/') ? method : `/dapr.proto.runtime.v1.Dapr/${method}`;
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
  const call: Call = { stream, status: undefined, reset: undefined };
  const take = (headers: Record<string, unknown>): void => {
    if (headers['grpc-status'] !== undefined) call.status = String(headers['grpc-status']);
  };
  stream.on('response', take).on('trailers', take);
  stream.on('error', () => undefined).once('close', () => (call.reset = stream.rstCode));
  if (bytes.length > 0) stream.write(bytes);
  return call;
}

export const message = (topic: string, size = 1): Buffer =>
  framed([
    PublishEventRequest.encode({
      pubsubName: 'pubsub',
      topic,
      data: Buffer.alloc(size),
      dataContentType: '',
      metadata: {},
    }).finish(),
  ]);

export async function statusOf(
  session: ClientHttp2Session,
  bytes: Uint8Array,
  method = 'PublishEvent',
): Promise<unknown> {
  const call = begin(session, method, bytes);
  call.stream.resume().end();
  await until(() => call.reset !== undefined, 'the call ends');
  return call.status;
}
