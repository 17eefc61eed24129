/** Every flag of daprd, declared once: the table reads them, gives their defaults and prints the help. */

import { parseGoDuration } from '../lib/duration.ts';
import { boolean, choice, parseQuantity, text, type Schema, type Setting, type Values } from '../lib/settings.ts';

/** A port to listen on. With `search` any free one from there up will do. 0: whatever is free. */
export interface PortChoice {
  readonly port: number;
  readonly search: boolean;
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal';

interface About<T> {
  readonly default: T;
  readonly shown?: string;
  readonly description: string;
  readonly aliases?: readonly string[];
}

const flag = <T>(
  kind: string,
  about: About<T>,
  wanted: string,
  read: (value: string) => T | undefined,
): Setting<T> => ({
  kind,
  default: about.default,
  description: about.description,
  aliases: about.aliases ?? [],
  shown: about.shown ?? '',
  parse: (value) => {
    const result = read(value.trim());
    if (result === undefined) throw new Error(wanted);
    return result;
  },
});

const whole = (value: string): number | undefined => (/^[+-]?\d+$/.test(value) ? Number(value) : undefined);

const number = (about: About<number>): Setting<number> => flag('number', about, 'a whole number', whole);

const isPort = (value: number | undefined): value is number => value !== undefined && value >= 0 && value <= 65_535;

/** 0 when there is none, which older launchers write as -1. */
const peerPort = (about: Omit<About<number>, 'default'>): Setting<number> =>
  flag('port', { default: 0, ...about }, 'a port from 1 to 65535', (value) => {
    const port = value === '-1' ? 0 : whole(value);
    return isPort(port) ? port : undefined;
  });

const ownPort = (port: number, description: string, aliases: readonly string[] = []): Setting<PortChoice> => {
  const about = { default: { port, search: false }, shown: String(port), description, aliases };
  return flag(
    'port',
    about,
    'a port from 0 to 65535, with a + after it for the first free one from there up',
    (value) => {
      const [, digits = ''] = /^(\d+)\+?$/.exec(value) ?? [];
      const chosen = whole(digits);
      return isPort(chosen) ? { port: chosen, search: value.endsWith('+') } : undefined;
    },
  );
};

/** Repeatable, and a comma between values does as well. */
const list = (about: Omit<About<readonly string[]>, 'default'>, otherwise: readonly string[] = []) =>
  flag<readonly string[]>('list', { default: otherwise, shown: otherwise.join(','), ...about }, '', (value) =>
    value.split(',').flatMap((one) => one.trim() || []),
  );

const goDuration = (about: About<number | undefined>): Setting<number | undefined> =>
  flag('duration', about, 'a duration such as 500ms, 30s or 5m', parseGoDuration);

/** Bytes. The default is given by who reads it, because each has an older flag beside it. */
const size = (shown: string, description: string): Setting<number | undefined> =>
  flag('size', { default: undefined, shown, description }, 'a size such as 4Mi', parseQuantity);

const olderSize = (unit: string): Setting<number | undefined> =>
  flag('number', { default: undefined, description: `The same in ${unit}, the older way.` }, 'a whole number', whole);

const App = {
  'app-id': text({ default: '', description: 'Name of the app. Required, without dots. Also APP_ID.' }),
  'app-port': peerPort({ description: 'Port the app listens on; none: it takes no events here. Also APP_PORT.' }),
  'app-protocol': text({
    default: 'http',
    description: 'What the app speaks: http, https, h2c, grpc or grpcs.',
    aliases: ['protocol'],
  }),
  'app-channel-address': text({ default: '127.0.0.1', description: 'Address of the app.' }),
  'app-max-concurrency': number({
    default: 0,
    shown: 'unlimited',
    description: 'Most calls to the app at one time.',
    aliases: ['max-concurrency'],
  }),
  parity: boolean({
    default: false,
    description:
      'Copy Dapr also where it hands over an event without its data, and assume no component. Also DAPR_PUBSUB_PARITY.',
  }),
  'app-not-found': choice<'retry' | 'drop'>({
    default: 'retry',
    of: ['retry', 'drop'],
    description: 'What becomes of an event the app has no handler for: retry or drop. Also DAPR_PUBSUB_NOT_FOUND.',
  }),
  'app-ssl': boolean({ default: false, description: 'Deprecated: use the app protocol https or grpcs.' }),
  'disable-init-endpoints': list({ description: 'Endpoints of the app not to ask at start: config, subscribe.' }),
} satisfies Schema;

const Health = {
  'enable-app-health-check': boolean({ default: false, description: 'Whether the app is probed.' }),
  'app-health-check-path': text({ default: '/healthz', description: 'Path of the probe over HTTP.' }),
  'app-health-probe-interval': number({ default: 0, shown: '5', description: 'Seconds between probes.' }),
  'app-health-probe-timeout': number({ default: 0, shown: '500', description: 'Milliseconds a probe may take.' }),
  'app-health-threshold': number({ default: 0, shown: '3', description: 'Failed probes until the app is unhealthy.' }),
} satisfies Schema;

const Api = {
  'dapr-http-port': ownPort(3500, 'Port of the HTTP API. 3501+ is the first free one from 3501 up, 0 any free one.'),
  'dapr-grpc-port': ownPort(50_001, 'Port of the gRPC API, written likewise.'),
  'dapr-listen-addresses': list({ description: 'Addresses of both APIs.' }, ['127.0.0.1', '::1']),
  'dapr-public-port': peerPort({ description: 'Port that serves health and metadata only; none by default.' }),
  'dapr-public-listen-address': text({
    default: '',
    description: 'Address of the public port (default 127.0.0.1, in Kubernetes 0.0.0.0).',
  }),
  'dapr-internal-grpc-port': peerPort({
    aliases: ['internal-grpc-port'],
    description: 'Port where other sidecars would call; nothing is served there. None by default.',
  }),
  'dapr-internal-grpc-listen-address': text({
    default: '',
    description: 'Address of the internal port (default 127.0.0.1, in Kubernetes 0.0.0.0).',
  }),
  'unix-domain-socket': text({ default: '', description: 'Directory for sockets that take the place of the ports.' }),
  'max-body-size': size('4Mi', 'Largest request; 0 or less: any.'),
  'dapr-http-max-request-size': olderSize('megabytes'),
  'read-buffer-size': size('4Ki', 'Largest header of a request.'),
  'dapr-http-read-buffer-size': olderSize('kilobytes'),
  'allowed-origins': list({ description: 'Origins that browsers may call from; none by default.' }),
} satisfies Schema;

const Resources = {
  'resources-path': list({ description: 'Directory with components and subscriptions. Repeatable.' }),
  'components-path': list({ description: 'The older name; counts when there is no resources path.', aliases: ['d'] }),
  config: list({ description: 'File with a Configuration. Repeatable, later ones count.' }),
  'hot-reload-reconcile-interval': goDuration({
    default: 0,
    shown: '1m',
    description: 'Time between two looks at all resources.',
  }),
  mode: choice<'standalone' | 'kubernetes'>({
    default: 'standalone',
    of: ['standalone', 'kubernetes'],
    description: 'standalone or kubernetes.',
  }),
} satisfies Schema;

const Life = {
  'dapr-graceful-shutdown-seconds': number({
    default: 5,
    shown: '5',
    description: 'Seconds a shutdown may take; 0: for ever.',
  }),
  'dapr-block-shutdown-duration': goDuration({
    default: undefined,
    description: 'Time to go on serving the API after a signal, taking no more events.',
  }),
} satisfies Schema;

const Observe = {
  'log-level': choice<LogLevel>({
    default: 'info',
    of: ['debug', 'info', 'warn', 'error', 'fatal'],
    description: 'debug, info, warn, error or fatal.',
  }),
  'log-as-json': boolean({ default: false, description: 'Whether log lines are JSON.' }),
  'log-file': text({ default: '', description: 'File for the log instead of the standard output.' }),
  'enable-api-logging': flag<boolean | undefined>(
    'boolean',
    { default: undefined, description: 'Whether calls of the API are logged; without it the Configuration decides.' },
    'true or false',
    (value) => (/^(true|false)$/i.test(value) ? value.toLowerCase() === 'true' : undefined),
  ),
  'enable-metrics': boolean({ default: true, description: 'Whether metrics are served.' }),
  'metrics-port': ownPort(9090, 'Port of the metrics.'),
  'metrics-listen-address': text({
    default: '',
    description: 'Address of the metrics (default 127.0.0.1, in Kubernetes 0.0.0.0).',
  }),
  'enable-profiling': boolean({
    default: false,
    description: 'Taken with a warning: there are no profiles of Go here.',
  }),
  'profile-port': ownPort(7777, 'Port for the profiler.', ['profiling-port']),
} satisfies Schema;

const Other = {
  version: boolean({ default: false, description: 'Prints the version.', aliases: ['v'] }),
  'build-info': boolean({ default: false, description: 'Prints version and commit.' }),
  wait: boolean({ default: false, description: 'Waits until the sidecar at the HTTP port can be used.' }),
  help: boolean({ default: false, description: 'Prints this.', aliases: ['h'] }),
} satisfies Schema;

/** Flags by what they are about, in the order of the help. */
export const FLAG_GROUPS: Readonly<Record<string, Schema>> = {
  App,
  'Health of the app': Health,
  'Dapr API': Api,
  Resources,
  Shutdown: Life,
  'Logs and metrics': Observe,
  Other,
};

export const FLAGS = { ...App, ...Health, ...Api, ...Resources, ...Life, ...Observe, ...Other };
export type FlagValues = Values<typeof FLAGS>;

/** Flags of a full Dapr sidecar that concern nothing a pub/sub sidecar has. Launchers give them, so they are taken. */
export const IGNORED_FLAGS: Schema = {
  'enable-mtls': boolean({ default: false, description: '' }),
  'disable-builtin-k8s-secret-store': boolean({ default: false, description: '' }),
  ...Object.fromEntries(
    [
      ['app-binding-options-timeout'],
      ['control-plane-address'],
      ['control-plane-trust-domain'],
      ['control-plane-namespace'],
      ['sentry-address'],
      ['sentry-request-jwt-audiences'],
      ['placement-host-address', 'placement-host', 'placement-address'],
      ['actors-disseminate-timeout'],
      ['actors-service'],
      ['reminders-service'],
      ['scheduler-host-address'],
      ['scheduler-job-streams'],
    ].map(([name = '', ...aliases]) => [name, text({ default: '', description: '', aliases })]),
  ),
};
