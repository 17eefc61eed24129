/** The gRPC server: what is served where, and how it stops. */

import {
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  type MethodDefinition,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { SubscribeTopicEventsResponseAlpha1 } from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { DaprService } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { HealthService } from '../../gen/grpc/health/v1/health.ts';
import { asBuffer } from '../core/cloud-event.ts';
import { encode } from '../channels/message-writer.ts';
import type { OnMessage } from '../core/traffic.ts';
import { listenOn, type PortChoice } from '../lib/listen.ts';
import { sleep } from '../lib/sleep.ts';
import { bindUnary, CallGate, type CallGateOptions } from './bind.ts';
import type { DaprApi } from './dapr.ts';
import { createHealth } from './health.ts';
import { addReflection } from './reflection.ts';
import type { Streams } from './subscribe.ts';

export interface GrpcServerOptions extends CallGateOptions {
  readonly addresses: readonly string[];
  readonly port: PortChoice;
  /** Path of a Unix socket to listen on instead; empty: none. */
  readonly socket: string;
  readonly maxBodyBytes: number;
  readonly streams: Streams;
  readonly ready: () => boolean;
  readonly onReadyChange: (listener: () => void) => () => void;
  /** Undefined where nobody counts. */
  readonly onMessage: OnMessage | undefined;
}

/** For answers that are given but not on the wire, before streams and idle connections are cut. */
const LAST_WORDS_MS = 200;
/** Dapr's: an idle connection is closed, one that does not answer a ping given up. Pings of clients are never too many. */
const KEEPALIVE = {
  'grpc.max_connection_idle_ms': 180_000,
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
};

export interface GrpcServer {
  /** The port that was bound, 0 on a socket. */
  readonly port: number;
  /** Refuses new calls, waits for unary ones until `deadline` aborts, then ends every connection. */
  close(deadline: AbortSignal): Promise<void>;
}

/** The definition of the one method that many messages pass, with the cheaper encoding. */
const subscribeTopicEventsAlpha1 = {
  ...DaprService.subscribeTopicEventsAlpha1,
  responseSerialize: (value: SubscribeTopicEventsResponseAlpha1): Buffer =>
    asBuffer(encode(SubscribeTopicEventsResponseAlpha1, value)),
};

/** The same methods, their messages told of where they are read and written: that is where their size is known. */
function weighed<Service extends ServiceDefinition>(service: Service, onMessage: OnMessage): Service {
  const methods = Object.entries(service).map(([name, method]) => {
    const { path, requestDeserialize, responseSerialize } = method as MethodDefinition<unknown, unknown>;
    const read = (bytes: Buffer): unknown => {
      onMessage(path, 'received', bytes.length);
      return requestDeserialize(bytes);
    };
    const write = (message: unknown): Buffer => {
      const bytes = responseSerialize(message);
      onMessage(path, 'sent', bytes.length);
      return bytes;
    };
    return [name, { ...method, requestDeserialize: read, responseSerialize: write }];
  });
  return Object.fromEntries(methods) as Service;
}

/** Listens; rejects when no address can be bound. */
export async function startGrpcServer(api: DaprApi, options: GrpcServerOptions): Promise<GrpcServer> {
  setLogVerbosity(logVerbosity.NONE); // it prints what it also returns
  const unlimited = options.maxBodyBytes <= 0 ? -1 : options.maxBodyBytes;
  const server = new Server({
    'grpc.max_receive_message_length': unlimited,
    'grpc.max_send_message_length': unlimited,
    'grpc.max_concurrent_streams': 10_000,
    ...KEEPALIVE,
  });
  const gate = new CallGate(options);
  server.addService(
    { ...(options.onMessage ? weighed(DaprService, options.onMessage) : DaprService), subscribeTopicEventsAlpha1 },
    {
      ...bindUnary(api, gate),
      subscribeTopicEventsAlpha1: gate.stream((call) => options.streams.serve(call)),
    },
  );
  server.addService(HealthService, { ...createHealth(options.ready, options.onReadyChange) });
  addReflection(server, gate);

  let port = 0;
  if (options.socket) await bind(server, `unix:${options.socket}`);
  else {
    port = await listenOn(
      options.addresses,
      options.port,
      (address, port) => bind(server, target(address, port)),
      async (address, port) => server.unbind(target(address, port)),
    );
  }
  return {
    port,
    close: async (deadline) => {
      const drained = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      await gate.idle(deadline);
      options.streams.close();
      await Promise.race([drained, sleep(LAST_WORDS_MS, deadline)]);
      server.forceShutdown();
    },
  };
}

/** Listens where other sidecars would call this one. A pub/sub sidecar serves them nothing: each call is UNIMPLEMENTED. */
export async function startInternalServer(address: string, port: number): Promise<GrpcServer> {
  const server = new Server(KEEPALIVE);
  return { port: await bind(server, target(address, port)), close: async () => server.forceShutdown() };
}

const target = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

function bind(server: Server, where: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(where, ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
  });
}
