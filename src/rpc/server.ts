/** The gRPC server: what is served where, and how it stops. */

import { constants } from 'node:http2';
import type { ListenOptions } from 'node:net';
import { DaprService } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { HealthService } from '../../gen/grpc/health/v1/health.ts';
import { isGrpc } from '../channels/grpc-headers.ts';
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
import { appIdOf, passOn, type RawCall } from './relay.ts';
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
  const health = createHealth(options.ready, options.onReadyChange);
  const routes = new Map<string, Serve>();
  for (const [name, serve] of Object.entries(bindUnary(DaprService, api, gate)))
    routes.set(DaprService[name as keyof DaprApi].path, serve);
  for (const [path, serve] of Object.entries(createReflection())) routes.set(path, gate.stream(serve));
  routes.set(
    DaprService.subscribeTopicEventsAlpha1.path,
    gate.stream((call) => streams.serve(call)),
  );

  const services = new Set([...routes.keys()].map(serviceOf));
  const others = (asked: ServerCall, raw: RawCall): Serve | undefined => {
    const service = serviceOf(asked.path);
    if (service === HEALTH && appIdOf(asked) === undefined) return health[asked.path];
    if (services.has(service)) return undefined;
    return gate.stream((call) => passOn(call, raw, options.relay, options.budget), INVOKE);
  };

  const listening = new Map<string, Connections>();
  const maxMessageBytes = options.maxBodyBytes > 0 ? options.maxBodyBytes : Infinity;
  const limits = { maxMessageBytes, budget: options.budget };
  const onStream = dispatch(limits, (call, raw) => routes.get(call.path) ?? others(call, raw));
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
  const nobody = dispatch(limits, () => undefined);
  const connections = new Connections(nobody, {
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
/** Apps have it, too: a call that names an app is meant for that. */
const HEALTH = serviceOf(HealthService.check.path);

/** Each stream to who serves it. What is no call of gRPC is 405 or 415, as the protocol wants. */
function dispatch(limits: CallLimits, find: (call: ServerCall, raw: RawCall) => Serve | undefined): OnStream {
  return (stream, headers, rawHeaders) => {
    if (stream.destroyed) return; // with its connection, for what its calls weigh
    const isPost = headers[':method'] === 'POST';
    if (!isPost || !isGrpc(headers['content-type'])) {
      stream.respond({ ':status': isPost ? 415 : 405 }, { endStream: true });
      if (!stream.endAfterHeaders) stream.close(constants.NGHTTP2_NO_ERROR);
      return;
    }
    const call = new ServerCall(stream, headers, limits);
    if (call.fault) return call.end(call.fault);
    const serve = find(call, { stream, rawHeaders });
    if (serve) serve(call);
    else call.end({ code: GrpcCode.UNIMPLEMENTED, details: `the method ${call.path} is not served` });
  };
}
