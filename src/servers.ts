/** The sidecar's listening side: the gRPC and HTTP APIs over one service object, health on the public port, metrics. */

import type { RequestListener } from 'node:http';
import type { App } from './app.ts';
import type { Configuration } from './config/configuration.ts';
import type { DaprdOptions } from './config/flags.ts';
import { ApiAccess } from './core/api-access.ts';
import { messageOf } from './core/errors.ts';
import type { Parked } from './core/parked.ts';
import type { Publisher } from './core/publisher.ts';
import type { Standings } from './core/standings.ts';
import type { Tracer } from './core/tracer.ts';
import { createGateway, createPublicGateway, type GatewayOptions, type ServedRequest } from './http/gateway.ts';
import { apiName } from './http/route-names.ts';
import { startHttpServer, type HttpServer } from './http/server.ts';
import { ConnectionLimit, maxConnections } from './lib/connection-limit.ts';
import { type PortChoice, socketPath } from './lib/listen.ts';
import type { Log } from './lib/log.ts';
import { budgetBytes, MemoryBudget } from './lib/memory-budget.ts';
import type { Readiness } from './lib/readiness.ts';
import { metricsHandler, type Metrics } from './observe/metrics.ts';
import type { DaprApi } from './rpc/dapr.ts';
import { startGrpcServer, startInternalServer, type GrpcServer } from './rpc/server.ts';
import type { Streams } from './rpc/subscribe.ts';

export interface ServersContext {
  readonly options: DaprdOptions;
  readonly configuration: Configuration;
  readonly api: DaprApi;
  readonly publisher: Publisher;
  readonly parked: Parked;
  readonly app: App;
  readonly streams: Streams;
  readonly readiness: Readiness;
  readonly outboundReady: () => boolean;
  /** For who scrapes or asks what is parked. Never rejects. */
  readonly standings: () => Promise<Standings>;
  /** Undefined where nothing is counted. */
  readonly metrics: Metrics | undefined;
  readonly tracer: Tracer | undefined;
  readonly log: Log;
}

export interface Servers {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** 0: metrics are off or could not listen. */
  readonly metricsPort: number;
  /** Refuses what is new, waits for requests in hand until `deadline` aborts, then ends every connection. */
  close(deadline: AbortSignal): Promise<void>;
}

/** Go's HTTP server allows this much on top of what was asked for. */
const HEADER_SLACK_BYTES = 4096;
/** Dapr takes the size of the read buffer for KiB here. */
const GRPC_HEADER_FACTOR = 1024;
const MAX_GRPC_HEADER_BYTES = 2 ** 30;

/** Rejects when one of the two APIs cannot listen. A port for health or metrics that is taken is only told. */
export async function startServers(context: ServersContext): Promise<Servers> {
  const { options, log } = context;
  const budget = new MemoryBudget(budgetBytes(options.maxBodyBytes));
  const limit = connectionLimit(log);
  const grpc = await startGrpc(context, budget, limit);
  log.info(`API gRPC server is running on port ${grpc.port}`);
  const gateway = gatewayOptions(context, budget);
  const started: { close(deadline: AbortSignal): Promise<void> }[] = [grpc];
  const close = async (deadline: AbortSignal): Promise<void> => {
    await Promise.all(started.map((server) => server.close(deadline)));
  };
  try {
    const http = await startHttp(context, createGateway(gateway), limit);
    started.push(http);
    log.info(`HTTP server is running on port ${http.port}`);
    log.info(`The request body size parameter is: ${options.maxBodyBytes} bytes`);
    const publicPort = { port: options.publicPort, search: false };
    const health =
      options.publicPort > 0 &&
      (await tryListen(context, createPublicGateway(gateway), options.publicAddress, publicPort, limit));
    if (health) started.push(health);
    const internal = await startInternal(context, limit);
    if (internal) started.push(internal);
    const series = await startMetrics(context, limit);
    if (series) started.push(series);
    return { httpPort: http.port, grpcPort: grpc.port, metricsPort: series ? series.port : 0, close };
  } catch (error) {
    await close(AbortSignal.abort());
    throw error;
  }
}

const connectionLimit = (log: Log): ConnectionLimit =>
  new ConnectionLimit(maxConnections(), (max) =>
    log.warn(
      `${max} connections are open and every one has a request in hand: further ones are refused until some end. ` +
        'A larger limit of open files (ulimit -n) allows more, 10000 at most',
    ),
  );

const socketOf = ({ unixDomainSocket, appId }: DaprdOptions, protocol: 'http' | 'grpc'): string =>
  unixDomainSocket && socketPath(unixDomainSocket, appId, protocol);

/** The app's own port is never taken in a search: the app may not listen yet. */
const own = (choice: PortChoice, { appPort }: DaprdOptions): PortChoice => ({ ...choice, except: appPort });

async function startGrpc(context: ServersContext, budget: MemoryBudget, limit: ConnectionLimit): Promise<GrpcServer> {
  const { options, api, streams, readiness, metrics } = context;
  const logCall = apiLogOf(context);
  try {
    return await startGrpcServer(api, {
      addresses: options.listenAddresses,
      port: own(options.grpcPort, options),
      socket: socketOf(options, 'grpc'),
      maxBodyBytes: options.maxBodyBytes,
      budget,
      limit,
      maxHeaderBytes: Math.min(options.readBufferBytes * GRPC_HEADER_FACTOR, MAX_GRPC_HEADER_BYTES),
      apiToken: options.environment.apiToken,
      access: accessOf(context),
      streams,
      relay: (call, signal) => context.app.relay(call, signal),
      tracer: context.tracer,
      ready: () => readiness.missing.length === 0,
      onReadyChange: readiness.onChange,
      onError: metrics?.onError,
      onMessage: metrics?.traffic.grpcMessage,
      onCall:
        (metrics || logCall) &&
        ((call) => {
          if (!call.isStream) metrics?.traffic.grpcServed(call);
          const { method, ms, code, userAgent } = call;
          logCall?.('gRPC API Called', { method, useragent: userAgent(), duration: Math.trunc(ms), code });
        }),
    });
  } catch (error) {
    throw new Error(`failed to start gRPC server: ${messageOf(error)}`, { cause: error });
  }
}

async function startHttp(
  { options }: ServersContext,
  handler: RequestListener,
  limit: ConnectionLimit,
): Promise<HttpServer> {
  try {
    return await startHttpServer(handler, {
      addresses: options.listenAddresses,
      port: own(options.httpPort, options),
      socket: socketOf(options, 'http'),
      maxHeaderBytes: options.readBufferBytes + HEADER_SLACK_BYTES,
      h2c: !options.environment.disableH2c,
      limit,
    });
  } catch (error) {
    throw new Error(`failed to start HTTP server: could not listen on any endpoint: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function startInternal(
  { options, log }: ServersContext,
  limit: ConnectionLimit,
): Promise<GrpcServer | undefined> {
  const { internalGrpcAddress: address, internalGrpcPort: port } = options;
  if (port === 0) return undefined;
  try {
    const server = await startInternalServer(address, port, limit);
    log.info(`Internal gRPC server is running on ${address}:${port}`);
    return server;
  } catch (error) {
    log.warn(`cannot listen on ${address}:${port}: ${messageOf(error)}`);
    return undefined;
  }
}

async function startMetrics(context: ServersContext, limit: ConnectionLimit): Promise<HttpServer | undefined> {
  const { options, metrics, log } = context;
  if (!metrics) return undefined;
  const port = own(options.metricsPort, options);
  const server = await tryListen(
    context,
    metricsHandler(metrics, context.standings),
    options.metrics.address,
    port,
    limit,
  );
  if (server) log.info(`metrics server started on ${options.metrics.address}:${server.port}/`);
  return server;
}

async function tryListen(
  { options, log }: ServersContext,
  handler: RequestListener,
  address: string,
  port: PortChoice,
  limit: ConnectionLimit,
): Promise<HttpServer | undefined> {
  try {
    const maxHeaderBytes = options.readBufferBytes + HEADER_SLACK_BYTES;
    return await startHttpServer(handler, { addresses: [address], port, socket: '', maxHeaderBytes, limit });
  } catch (error) {
    log.warn(`cannot listen on ${address}:${port.port}: ${messageOf(error)}`);
    return undefined;
  }
}

function gatewayOptions(context: ServersContext, budget: MemoryBudget): GatewayOptions {
  const { options, api, publisher, parked, standings, app, readiness, outboundReady, metrics } = context;
  const logCall = apiLogOf(context);
  return {
    api,
    appId: options.appId,
    maxBodyBytes: options.maxBodyBytes,
    budget,
    apiToken: options.environment.apiToken,
    allowedOrigins: options.allowedOrigins,
    access: accessOf(context),
    tracer: context.tracer,
    find: (request) => publisher.find(request),
    parked: {
      list: async () => parked.list(await standings()),
      deliver: (pubsub, topic) => parked.deliver(pubsub, topic),
    },
    invoke: (call, signal) => app.invoke(call, signal),
    outboundReady,
    notReady: () => readiness.missing,
    onError: metrics?.onError,
    onRequest:
      (metrics || logCall) &&
      ((request) => {
        metrics?.traffic.httpServed(request);
        if (logCall) logRequest(request, context.configuration, logCall);
      }),
  };
}

const accessOf = ({ configuration: { api } }: ServersContext): ApiAccess => new ApiAccess(api.allowed, api.denied);

type LogCall = Log['info'];

/** Undefined: calls are not logged. */
function apiLogOf({ options, configuration, log }: ServersContext): LogCall | undefined {
  const enabled = options.apiLogging ?? configuration.apiLogging.enabled ?? false;
  const apiLog = log.scoped('dapr.api');
  return enabled ? (message, fields) => apiLog.info(message, fields) : undefined;
}

function logRequest(request: ServedRequest, { apiLogging }: Configuration, logCall: LogCall): void {
  const { method, path, route, status: code, ms, userAgent: useragent, sent: size } = request;
  const isHealth = route.kind === 'healthz' || route.kind === 'outbound';
  if (isHealth && apiLogging.omitHealthChecks) return;
  const called = apiLogging.obfuscateUrls ? apiName(route) : `${method} ${path}`;
  logCall('HTTP API Called', { method: called, useragent, duration: Math.trunc(ms), code, size });
}
