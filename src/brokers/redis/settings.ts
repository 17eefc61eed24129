/** The component's settings: Dapr's names and units, with defaults under which nothing is lost. */

import {
  boolean,
  duration,
  integer,
  parseSettings,
  text,
  type Schema,
  type Setting,
  type Values,
} from '../../lib/settings.ts';
import { parseAddresses, type Address } from './addresses.ts';

const DEFAULT_PORT = 6379;

/** In Dapr 0 means the default, and a negative number switches something off in its client; here that does too. */
function tolerant(setting: Setting<number>): Setting<number> {
  const parse = (value: string): number => (/^\s*-\d+\s*$/.test(value) ? 0 : setting.parse(value)) || setting.default;
  return { ...setting, parse };
}

const unused = tolerant(
  duration({ default: 0, description: 'Read so that a mistake is found, without effect: there is no pool.' }),
);

const CONNECTION = {
  redisHost: text({
    default: '',
    description: 'Required. `host`, `host:port`, or a comma list: nodes of a cluster, or the Sentinels.',
  }),
  redisPort: {
    ...integer({ default: 0, description: 'Port of every host that names none.' }),
    shown: String(DEFAULT_PORT),
  },
  redisUsername: text({ default: '', description: 'ACL user.' }),
  redisPassword: text({ default: '', description: 'Password.' }),
  redisDB: integer({ default: 0, description: 'Database. A cluster has one only.' }),
  redisType: { ...text({ default: 'node', description: '`node` or `cluster`.' }), kind: 'choice' },
  failover: boolean({ default: false, description: 'The hosts are Sentinels, which say where the master is.' }),
  sentinelMasterName: text({ default: '', description: 'Name of the master. Required with `failover`.' }),
  sentinelUsername: text({ default: '', description: 'ACL user of the Sentinels.' }),
  sentinelPassword: text({ default: '', description: 'Password of the Sentinels.' }),
  enableTLS: boolean({ default: false, description: 'Connect with TLS.' }),
  insecureSkipTLSVerify: boolean({ default: false, description: 'Accept any certificate. For tests only.' }),
  caCert: text({ default: '', description: 'PEM of the authority to trust instead of the well-known ones.' }),
  clientCert: text({ default: '', description: 'PEM of our certificate. With `clientKey`.' }),
  clientKey: text({ default: '', description: 'PEM of our private key. With `clientCert`.' }),
  dialTimeout: tolerant(duration({ default: 5000, description: 'How long a connection attempt may take.' })),
  readTimeout: tolerant(
    duration({ default: 5000, description: 'A connection that owes an answer for this long is given up.' }),
  ),
  redisMinRetryInterval: tolerant(
    duration({ default: 8, description: 'Pause before the first attempt to connect again; it doubles each time.' }),
  ),
  redisMaxRetryInterval: tolerant(duration({ default: 512, description: 'Longest such pause.' })),
};

const CONSUMING = {
  consumerID: text({
    default: '',
    description:
      'Name of the consumer group. By default the app id. A new group starts with the oldest message that is there.',
  }),
  concurrency: integer({
    default: 10,
    min: 1,
    description:
      'How many messages of a topic are handled at once. With 1 they are handled strictly in order: one that waits for its retry holds those behind it, a parked one does not.',
  }),
  queueDepth: integer({
    default: 100,
    description:
      'How many messages of a topic are read ahead, at most. As many as are handled within 50 ms are enough.',
  }),
  processingTimeout: duration({
    default: 60_000,
    description:
      'How long a consumer that shows no sign of life keeps what it has in hand. Handlers that merely take long keep theirs. `0`: for ever.',
  }),
  redeliverInterval: duration({
    default: 1000,
    description: 'How often to look for what others left behind. `0`: what somebody has who may be alive stays his.',
  }),
  entryKeepAliveInterval: duration({
    default: 0,
    description:
      'How often to show that what is in hand is still in hand. At most half of `processingTimeout`; `0`: a third of it.',
  }),
};

const PUBLISHING = {
  wait: integer({
    default: 0,
    description:
      'How many replicas must have an event before its publish is acknowledged. `0`: what was not replicated yet is lost in a failover.',
  }),
  waitTimeout: tolerant(
    duration({ default: 1000, description: 'How long they may take. Then the publish has failed. With `wait`.' }),
  ),
  maxLenApprox: integer({
    default: 0,
    description:
      'Keep about so many messages in a topic, the newest. `0`: all. What goes is gone, also for a group that has not read it.',
  }),
  streamTTL: duration({
    default: 0,
    description: 'Keep messages for about so long. `0`: for ever. As above; without effect beside `maxLenApprox`.',
  }),
};

const WITHOUT_EFFECT = {
  redisMaxRetries: tolerant(
    integer({
      default: 0,
      description:
        'Read so that a mistake is found, without effect: a publish whose outcome is unknown fails, and is not sent twice behind your back.',
    }),
  ),
  writeTimeout: unused,
  poolSize: tolerant(integer({ default: 0, description: unused.description })),
  poolTimeout: unused,
  minIdleConns: tolerant(integer({ default: 0, description: unused.description })),
  maxConnAge: unused,
  idleTimeout: unused,
  idleCheckFrequency: unused,
};

const REFUSED = {
  useEntraID: boolean({ default: false, aliases: ['useAzureAD'], description: 'Not supported: `true` is refused.' }),
  useOIDC: boolean({ default: false, description: 'Not supported: `true` is refused.' }),
};

export const SETTINGS = {
  ...CONNECTION,
  ...CONSUMING,
  ...PUBLISHING,
  ...WITHOUT_EFFECT,
  ...REFUSED,
} satisfies Schema;

export interface RedisSettings extends Values<typeof SETTINGS> {
  readonly hosts: readonly Address[];
  /** `redisHost` as people wrote it. */
  readonly redisHost: string;
}

/** Throws one error with what is wrong. */
export function readSettings(raw: Readonly<Record<string, string>>): RedisSettings {
  const values = parseSettings(SETTINGS, raw);
  const problems: string[] = [];
  if (values.redisHost.trim() === '') problems.push('redisHost is required');
  if (values.redisPort > 65_535) problems.push(`redisPort wants a port, not '${values.redisPort}'`);
  if (values.failover && values.sentinelMasterName === '') problems.push('failover wants sentinelMasterName');
  if (values.useEntraID) problems.push('useEntraID is not supported');
  if (values.useOIDC) problems.push('useOIDC is not supported');
  if (problems.length > 0) throw new Error(problems.join('; '));
  return { ...values, hosts: parseAddresses(values.redisHost, values.redisPort, DEFAULT_PORT) };
}
