/** What daprd was told to do, in types and units the sidecar works with. */

import { socketFault, socketPath } from '../lib/listen.ts';
import { readEnvironment, type Environment, type Variables } from './environment.ts';
import type { FlagValues, LogLevel, PortChoice } from './flag-table.ts';

export type AppProtocol = 'http' | 'https' | 'h2c' | 'grpc' | 'grpcs';
export type InitEndpoint = 'config' | 'subscribe';

/** A command line that cannot be meant. Its message is for the person who typed it. */
export class UsageError extends Error {}

/** A command line that was understood and asks for what cannot be: a start that fails, as in Dapr. */
export class StartupError extends UsageError {}

/** Times are milliseconds. Empty text and empty lists: not given. */
export interface DaprdOptions {
  readonly appId: string;
  /** 0: there is no app to deliver to. */
  readonly appPort: number;
  readonly appProtocol: AppProtocol;
  readonly appChannelAddress: string;
  /** 0: unlimited. */
  readonly appMaxConcurrency: number;
  readonly appHealth: AppHealthOptions;
  readonly appNotFound: 'retry' | 'drop';
  /** Whether to copy Dapr also where it hands over an event without its data. */
  readonly parity: boolean;
  readonly disableInitEndpoints: ReadonlySet<InitEndpoint>;
  /** A search must leave `appPort` alone: the app may not listen yet. */
  readonly httpPort: PortChoice;
  readonly grpcPort: PortChoice;
  readonly metricsPort: PortChoice;
  readonly listenAddresses: readonly string[];
  /** 0: no public port. */
  readonly publicPort: number;
  readonly publicAddress: string;
  /** 0: none. */
  readonly internalGrpcPort: number;
  readonly internalGrpcAddress: string;
  /** Directory for sockets instead of the ports. */
  readonly unixDomainSocket: string;
  /** Infinity: unlimited. */
  readonly maxBodyBytes: number;
  readonly readBufferBytes: number;
  readonly allowedOrigins: readonly string[];
  readonly resourcesPaths: readonly string[];
  readonly configFiles: readonly string[];
  readonly mode: 'standalone' | 'kubernetes';
  readonly hotReloadIntervalMs: number;
  /** Infinity: wait for as long as it takes. */
  readonly gracefulShutdownMs: number;
  readonly blockShutdownMs: number | undefined;
  /** Undefined: the Configuration decides. */
  readonly apiLogging: boolean | undefined;
  readonly log: { readonly level: LogLevel; readonly json: boolean; readonly file: string };
  readonly metrics: { readonly enabled: boolean; readonly address: string };
  readonly profiling: { readonly enabled: boolean; readonly port: PortChoice };
  readonly environment: Environment;
  /** Flags that were asked for and have no effect here. */
  readonly ignored: readonly string[];
  /** What the log should warn of at start. */
  readonly warnings: readonly string[];
}

export interface AppHealthOptions {
  readonly enabled: boolean;
  /** With its leading slash. */
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly threshold: number;
}

const HOT_RELOAD_INTERVAL_MS = 60_000;
const GRACEFUL_SHUTDOWN_MS = 5000;

/** The options behind the values of the flags. Throws a StartupError when they contradict each other or are out of range. */
export function optionsFrom(flags: FlagValues, ignored: readonly string[], variables: Variables): DaprdOptions {
  const environment = readEnvironment(variables);
  const everywhere = flags.mode === 'kubernetes' ? '0.0.0.0' : '127.0.0.1';
  const resourcesPaths = flags['resources-path'].length > 0 ? flags['resources-path'] : flags['components-path'];
  const options = {
    ...appOptions(flags),
    httpPort: flags['dapr-http-port'],
    grpcPort: flags['dapr-grpc-port'],
    metricsPort: flags['metrics-port'],
    listenAddresses: flags['dapr-listen-addresses'].map((address) => address.replace(/^\[(.*)\]$/, '$1')),
    publicPort: flags['dapr-public-port'],
    publicAddress: flags['dapr-public-listen-address'] || everywhere,
    internalGrpcPort: flags['dapr-internal-grpc-port'],
    internalGrpcAddress: flags['dapr-internal-grpc-listen-address'] || everywhere,
    unixDomainSocket: flags['unix-domain-socket'],
    ...sizes(flags),
    allowedOrigins: flags['allowed-origins'],
    resourcesPaths,
    configFiles: flags.config,
    mode: flags.mode,
    ...times(flags),
    apiLogging: flags['enable-api-logging'],
    log: { level: flags['log-level'], json: flags['log-as-json'], file: flags['log-file'] },
    metrics: { enabled: flags['enable-metrics'], address: flags['metrics-listen-address'] || everywhere },
    profiling: { enabled: flags['enable-profiling'], port: flags['profile-port'] },
    environment,
    ignored,
  };
  refuseConflicts(options);
  return { ...options, warnings: warningsOf(flags, options) };
}

type AppOptions = Pick<
  DaprdOptions,
  | 'appId'
  | 'appPort'
  | 'appProtocol'
  | 'appChannelAddress'
  | 'appMaxConcurrency'
  | 'appHealth'
  | 'appNotFound'
  | 'parity'
  | 'disableInitEndpoints'
>;

function appOptions(flags: FlagValues): AppOptions {
  return {
    appId: flags['app-id'],
    appPort: flags['app-port'],
    appProtocol: appProtocol(flags['app-protocol'], flags['app-ssl']),
    appChannelAddress: flags['app-channel-address'],
    appMaxConcurrency: Math.max(flags['app-max-concurrency'], 0),
    appHealth: appHealth(flags),
    appNotFound: flags['app-not-found'],
    parity: flags.parity,
    disableInitEndpoints: new Set(flags['disable-init-endpoints'].map(initEndpoint)),
  };
}

function appProtocol(given: string, ssl: boolean): AppProtocol {
  const protocols: Readonly<Record<string, AppProtocol>> = {
    http: ssl ? 'https' : 'http',
    https: 'https',
    h2c: 'h2c',
    grpc: ssl ? 'grpcs' : 'grpc',
    grpcs: 'grpcs',
  };
  const lower = given.toLowerCase();
  const protocol = Object.hasOwn(protocols, lower) ? protocols[lower] : undefined;
  if (!protocol) throw new StartupError(`invalid value for 'app-protocol': ${given}`);
  return protocol;
}

function initEndpoint(value: string): InitEndpoint {
  if (value === 'config' || value === 'subscribe') return value;
  throw new StartupError(`invalid value for 'disable-init-endpoints': ${value}`);
}

function appHealth(flags: FlagValues): AppHealthOptions {
  const positive = (value: number, otherwise: number): number => (value > 0 ? value : otherwise);
  const intervalMs = positive(flags['app-health-probe-interval'], 5) * 1000;
  const timeoutMs = positive(flags['app-health-probe-timeout'], 500);
  if (timeoutMs > intervalMs) {
    throw new StartupError("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'");
  }
  return {
    enabled: flags['enable-app-health-check'],
    path: flags['app-health-check-path'].replace(/^\/?/, '/'),
    intervalMs,
    timeoutMs,
    threshold: positive(flags['app-health-threshold'], 3),
  };
}

function sizes(flags: FlagValues): Pick<DaprdOptions, 'maxBodyBytes' | 'readBufferBytes'> {
  const bytes = flags['max-body-size'] ?? (flags['dapr-http-max-request-size'] ?? 4) * 2 ** 20;
  const buffer = flags['read-buffer-size'] ?? (flags['dapr-http-read-buffer-size'] ?? 4) * 2 ** 10;
  if (buffer <= 0) throw new StartupError("invalid value for 'read-buffer-size': it must be more than 0");
  return { maxBodyBytes: bytes > 0 ? bytes : Infinity, readBufferBytes: buffer };
}

function times(
  flags: FlagValues,
): Pick<DaprdOptions, 'hotReloadIntervalMs' | 'gracefulShutdownMs' | 'blockShutdownMs'> {
  const interval = flags['hot-reload-reconcile-interval'] ?? 0;
  const grace = flags['dapr-graceful-shutdown-seconds'] * 1000;
  return {
    hotReloadIntervalMs: interval > 0 ? interval : HOT_RELOAD_INTERVAL_MS,
    gracefulShutdownMs: grace === 0 ? Infinity : grace < 0 ? GRACEFUL_SHUTDOWN_MS : grace,
    blockShutdownMs: flags['dapr-block-shutdown-duration'],
  };
}

function refuseConflicts({ appPort, ...options }: Omit<DaprdOptions, 'warnings'>): void {
  const { appApiTokenHeader: header } = options.environment;
  if (!/^[0-9a-z_.-]+$/.test(header) || header.endsWith('-bin')) {
    throw new StartupError(`invalid value for DAPR_APP_API_TOKEN_HEADER: ${header}`);
  }
  const socket = options.unixDomainSocket && socketFault(socketPath(options.unixDomainSocket, options.appId, 'http'));
  if (socket) throw new StartupError(socket);
  const ports = { 'dapr-http-port': options.httpPort, 'dapr-grpc-port': options.grpcPort };
  for (const [name, { port, search }] of Object.entries(ports)) {
    if (appPort !== 0 && port === appPort && !search) {
      throw new StartupError(`the '${name}' argument value ${port} conflicts with 'app-port'`);
    }
  }
}

const isLoopback = (address: string): boolean => /^(127\.|::1$|localhost$)/.test(address);

function warningsOf(flags: FlagValues, options: Omit<DaprdOptions, 'warnings'>): string[] {
  const open = options.listenAddresses.filter((address) => !isLoopback(address));
  const cases: readonly [boolean, string][] = [
    [flags['app-ssl'], "The 'app-ssl' flag is deprecated; use 'app-protocol=https' instead"],
    [
      options.profiling.enabled,
      'enable-profiling has no effect: there are no profiles of Go here. NODE_OPTIONS=--inspect or --cpu-prof gives those of Node',
    ],
    [options.ignored.includes('enable-mtls'), 'enable-mtls has no effect: sidecars do not call each other here'],
    [
      options.gracefulShutdownMs === Infinity,
      'Graceful shutdown timeout is infinite, will wait indefinitely to shutdown',
    ],
    [
      open.length > 0 && options.environment.apiToken === '',
      `The API listens on ${open.join(', ')} and asks for no token: whoever reaches it can publish. Set DAPR_API_TOKEN`,
    ],
  ];
  return cases.flatMap(([holds, text]) => (holds ? [text] : []));
}
