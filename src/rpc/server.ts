/** The gRPC server: what is served where, and how it stops. */

import { constants } from 'node:http2';
import type { ListenOptions } from 'node:net';
import { DaprService } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { GrpcCode } from '../core/errors.ts';
import type { Relay } from '../core/invocation.ts';
import type { ConnectionLimit } from '../lib/connection-limit.ts';
import { listenOn, type PortChoice } from '../lib/listen.ts';
import { MemoryBudget } from '../lib/memory-budget.ts';
import { sleep } from '../lib/sleep.ts';
import { bindUnary, CallGate, INVOKE, type CallGateOptions, type Serve } from './bind.ts';
import { ServerCall } from './call.ts';
import { Connections, type OnStream } from './connections.ts';
import type { DaprApi } from './dapr.ts';
import { createHealth } from './health.ts';
import type { CallLimits } from './incoming.ts';
import { Load } from './load.ts';
import { passOn, type RawCall } from './relay.ts';
import { createReflection } from './reflection.ts';
import type { Streams } from './subscribe.ts';

export interface GrpcServerOptions extends CallGateOptions {
  readonly addresses: readonly string[];
  readonly port: PortChoice;
  /** Path of a Unix socket to listen on instead; empty: none. */
  readonly socket: string;
  readonly maxBodyBytes: number;
  readonly budget: MemoryBudget;
  /** Of all servers. */
  readonly limit: ConnectionLimit;
  /** Of all headers of a call. */
  readonly maxHeaderBytes: number;
  readonly streams: Streams;
  /** Where calls of other services go. */
  readonly relay: Relay;
  readonly ready: () => boolean;
  readonly onReadyChange: (listener: () => void) => () => void;
}

/** For answers that are given but not on the wire, before streams and idle connections are cut. */
const LAST_WORDS_MS = 200;
const MAX_INTERNAL_HEADER_BYTES = 64 * 1024;
const MAX_INTERNAL_BYTES = 32 << 20;
/** What open calls may cost beside what they send, of the budget. */
const CALLS_SHARE = 4;
/** With the name of an encoding or without. That of gRPC-Web begins the same way, and is framed otherwise. */
const CONTENT_TYPE = /^application\/grpc(?:$|[+;])/;
export interface GrpcServer {
  /** The port that was bound, 0 on a socket. */
  readonly port: number;
  /** Refuses new calls, waits for unary ones until `deadline` aborts, then ends every connection. */
  close(deadline: AbortSignal): Promise<void>;
}

/** Listens; rejects when no address can be bound. */
export async function startGrpcServer(api: DaprApi, options: GrpcServerOptions): Promise<GrpcServer> {
  const { streams } = options;
  const gate = new CallGate(options);
  const routes = new Map<string, Serve>(Object.entries(createHealth(options.ready, options.onReadyChange)));
  for (const [name, serve] of Object.entries(bindUnary(DaprService, api, gate)))
    routes.set(DaprService[name as keyof DaprApi].path, serve);
  for (const [path, serve] of Object.entries(createReflection())) routes.set(path, gate.stream(serve));
  routes.set(
    DaprService.subscribeTopicEventsAlpha1.path,
    gate.stream((call) => streams.serve(call)),
  );

  const services = new Set([...routes.keys()].map(serviceOf));
  const relayed = (raw: RawCall): Serve =>
    gate.stream((call) => passOn(call, raw, options.relay, options.budget), INVOKE);

  const listening = new Map<string, Connections>();
  const maxMessageBytes = options.maxBodyBytes > 0 ? options.maxBodyBytes : Infinity;
  const onStream = dispatch(routes, { maxMessageBytes, budget: options.budget }, (path, raw) =>
    services.has(serviceOf(path)) ? undefined : relayed(raw),
  );
  const load = new Load(options.budget.maxBytes / CALLS_SHARE);
  const open = async (name: string, where: ListenOptions): Promise<number> => {
    const connections = new Connections(onStream, {
      maxHeaderBytes: options.maxHeaderBytes,
      load,
      limit: options.limit,
    });
    const port = await connections.listen(where);
    listening.set(name, connections);
    return port;
  };
  const release = async (host: string): Promise<void> => {
    await listening.get(host)?.close();
    listening.delete(host);
  };
  const port = options.socket
    ? await open(options.socket, { path: options.socket })
    : await listenOn(options.addresses, options.port, (host, port) => open(host, { host, port }), release);
  return {
    port,
    close: async (deadline) => {
      const all = [...listening.values()];
      const drained = Promise.all(all.map((connections) => connections.close()));
      await gate.idle(deadline);
      streams.close();
      await Promise.race([drained, sleep(LAST_WORDS_MS, deadline)]);
      for (const connections of all) connections.destroy();
    },
  };
}

/** Listens where other sidecars would call this one. A pub/sub sidecar serves them nothing: each call is UNIMPLEMENTED. */
export async function startInternalServer(address: string, port: number, limit: ConnectionLimit): Promise<GrpcServer> {
  const limits = { maxMessageBytes: Infinity, budget: new MemoryBudget(MAX_INTERNAL_BYTES) };
  const connections = new Connections(dispatch(new Map(), limits), {
    maxHeaderBytes: MAX_INTERNAL_HEADER_BYTES,
    load: new Load(MAX_INTERNAL_BYTES),
    limit,
  });
  return {
    port: await connections.listen({ host: address, port }),
    close: async () => {
      const closed = connections.close();
      connections.destroy();
      await closed;
    },
  };
}

const serviceOf = (path: string): string => path.slice(0, path.lastIndexOf('/'));

/** Each stream to the method that its path names, or to `others`. What is no gRPC is 415, as the protocol wants. */
function dispatch(
  routes: ReadonlyMap<string, Serve>,
  limits: CallLimits,
  others?: (path: string, raw: RawCall) => Serve | undefined,
): OnStream {
  return (stream, headers, rawHeaders) => {
    if (stream.destroyed) return; // with its connection, for what its calls weigh
    if (!CONTENT_TYPE.test(headers['content-type'] ?? '')) {
      stream.respond({ ':status': 415 }, { endStream: true });
      if (!stream.endAfterHeaders) stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    const call = new ServerCall(stream, headers, limits);
    const serve = routes.get(call.path) ?? others?.(call.path, { stream, rawHeaders });
    if (serve) serve(call);
    else call.end({ code: GrpcCode.UNIMPLEMENTED, details: `the method ${call.path} is not served` });
  };
}
