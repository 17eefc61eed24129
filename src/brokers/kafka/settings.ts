/** The component's settings: Dapr's names and units, with defaults under which nothing is lost. */

import {
  boolean,
  choice,
  duration,
  integer,
  parseSettings,
  text,
  type Schema,
  type Setting,
  type Values,
} from '../../lib/settings.ts';
import { withoutSecrets } from '../../lib/without-secrets.ts';
import { authProblems, AUTHENTICATION, readAuthType, readExtensions, type AuthType } from './auth-settings.ts';

/** Bare numbers are seconds, as in Dapr's Kafka component; nothing and less is the default. */
function seconds(defaultMs: number, description: string): Setting<number> {
  const setting = duration({ default: defaultMs, bareUnitMs: 1000, description });
  return { ...setting, parse: (value) => (/^\s*-/.test(value) ? 0 : setting.parse(value)) || defaultMs };
}

const WITHOUT = 'Read so that a mistake is found, without effect';
const unused = (why: string): Setting<string> => text({ default: '', description: `${WITHOUT}: ${why}.` });
const CONNECTION = {
  brokers: text({ default: '', description: 'Required. `host:port`, or a comma list of them.' }),
  clientId: text({ default: 'sarama', description: 'How the brokers name us in their logs and quotas.' }),
  dialTimeout: seconds(30_000, 'How long a connection attempt may take.'),
  readTimeout: seconds(30_000, 'A connection that owes an answer for this long is given up.'),
  clientConnectionTopicMetadataRefreshInterval: seconds(
    480_000,
    'How old what is known of topics may grow: so long new partitions stay unseen.',
  ),
  clientConnectionKeepAliveInterval: duration({
    default: 60_000,
    bareUnitMs: 1000,
    description: 'Pause between the probes of an idle TCP connection.',
  }),
};

const CONSUMING = {
  consumerGroup: text({ default: '', description: 'The consumer group. By default `consumerID`.' }),
  consumerID: text({ default: '', description: 'The same, with less weight. By default the app id.' }),
  initialOffset: choice({
    of: ['newest', 'oldest'],
    default: 'newest',
    description: 'Where a group begins that is new to a topic.',
  }),
  ordering: choice({
    of: ['key', 'partition', 'none'],
    default: 'key',
    description:
      'What is handled one after the other: messages of one key (those without keep the order of their partition), all of a partition, or nothing.',
  }),
  maxInFlight: integer({
    default: 32,
    min: 1,
    description: 'How many messages of a topic are handled at once. With 1 partitions are handled in order.',
  }),
  channelBufferSize: integer({ default: 256, min: 1, description: 'How many messages of a partition are read ahead.' }),
  consumerFetchMin: integer({ default: 1, min: 1, description: 'Bytes a broker gathers before it answers a read.' }),
  consumerFetchDefault: integer({ default: 2 ** 20, min: 1, description: 'Bytes of a partition in one read, about.' }),
  heartbeatInterval: seconds(3000, 'Pause between the signs of life to the group.'),
  sessionTimeout: seconds(10_000, 'How long without one until others take the partitions.'),
  consumeRetryInterval: duration({
    default: 100,
    description: 'Pause before joining the group is tried again. It doubles up to 5 s.',
  }),
  consumerGroupRebalanceStrategy: choice({
    of: ['range', 'sticky', 'roundrobin'],
    default: 'range',
    description: 'How partitions are shared out. All members of a group need the same.',
  }),
  escapeHeaders: boolean({
    default: false,
    description: 'Escape key and headers as in URLs before the app gets them.',
  }),
};

const PUBLISHING = {
  producerRequiredAcks: choice({
    of: ['all', 'local', 'none'],
    default: 'all',
    description: 'Who has to have a message before it counts as published. Less than `all` may lose it.',
  }),
  producerRetryMax: integer({
    default: 5,
    description:
      'How often a failed write is tried again, after 100 ms, 200 ms ... up to 1 s. Nothing is stored twice by it.',
  }),
  maxMessageBytes: integer({ default: 0, description: 'Largest message. `0`: 1 MiB.' }),
  compression: choice({
    of: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
    default: 'none',
    description: 'Of what is published. What arrives may have any.',
  }),
  partitioner: choice({
    of: ['sarama', 'murmur2', 'crc32'],
    default: 'sarama',
    description: "Where a key belongs: as Dapr's client, Java's, or librdkafka's has it.",
  }),
  excludeHeaderMetaRegex: text({ default: '', description: 'Metadata and headers of these names are left out.' }),
};

const SCHEMAS = {
  schemaRegistryURL: text({ default: '', description: 'The schema registry, for `valueSchemaType: Avro`.' }),
  schemaRegistryAPIKey: text({ default: '', description: 'User at the registry.' }),
  schemaRegistryAPISecret: text({ default: '', description: 'Password there.' }),
  schemaCachingEnabled: boolean({ default: true, description: 'Whether the latest schema of a topic is remembered.' }),
  schemaLatestVersionCacheTTL: seconds(300_000, 'How long it is.'),
  useAvroJSON: boolean({
    default: false,
    description: 'JSON of the app is in the encoding of Avro, where a union names its branch.',
  }),
};

const byResiliency = unused('a Resiliency policy says how often and when a message is tried again');

const WITHOUT_EFFECT = {
  version: unused('each broker is asked for what it knows'),
  writeTimeout: unused('`readTimeout` covers it'),
  metadataTimeout: unused('`readTimeout` covers it'),
  consumeRetryEnabled: byResiliency,
  backOffPolicy: byResiliency,
  backOffDuration: byResiliency,
  backOffInitialInterval: byResiliency,
  backOffRandomizationFactor: byResiliency,
  backOffMultiplier: byResiliency,
  backOffMaxInterval: byResiliency,
  backOffMaxElapsedTime: byResiliency,
  backOffMaxRetries: byResiliency,
};

export const SETTINGS = {
  ...CONNECTION,
  ...AUTHENTICATION,
  ...CONSUMING,
  ...PUBLISHING,
  ...SCHEMAS,
  ...WITHOUT_EFFECT,
} satisfies Schema;

const DEFAULT_MAX_BYTES = 2 ** 20;

export interface KafkaSettings extends Omit<Values<typeof SETTINGS>, 'authType' | 'brokers'> {
  readonly authType: AuthType;
  readonly brokers: readonly Address[];
  readonly hasTls: boolean;
  readonly extensions: Readonly<Record<string, string>>;
  readonly excluded: RegExp | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Throws one error with everything that is wrong. */
export function readSettings(raw: Readonly<Record<string, string>>): KafkaSettings {
  const values = parseSettings(SETTINGS, raw);
  const problems: string[] = [];
  const attempt = <T>(read: () => T, otherwise: T): T => {
    try {
      return read();
    } catch (error) {
      problems.push((error as Error).message);
      return otherwise;
    }
  };
  const isAuthRequiredSet = Object.keys(raw).some((key) => key.toLowerCase() === 'authrequired');
  const authType = attempt(() => readAuthType(values, isAuthRequiredSet), 'none' as const);
  const settings: KafkaSettings = {
    ...values,
    authType,
    brokers: attempt(() => readBrokers(values.brokers), []),
    maxMessageBytes: values.maxMessageBytes || DEFAULT_MAX_BYTES,
    hasTls: authType !== 'none' && !values.disableTls,
    extensions: attempt(() => readExtensions(values.oidcExtensions), {}),
    excluded: attempt(() => readRegex(values.excludeHeaderMetaRegex), undefined),
  };
  problems.push(...authProblems(settings));
  if (settings.heartbeatInterval >= settings.sessionTimeout) {
    problems.push('heartbeatInterval must be shorter than sessionTimeout');
  }
  if (problems.length > 0) throw new Error(problems.join('; '));
  return settings;
}

function readBrokers(list: string): Address[] {
  const parts = list.split(',').map((one) => one.trim()).filter((one) => one !== ''); // prettier-ignore
  if (parts.length === 0) throw new Error('brokers is required');
  return parts.map((part) => {
    const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(part) ?? [];
    const host = bracketed ?? plain;
    if (host === undefined || Number(port) > 65_535)
      throw new Error(`brokers wants host:port, not '${withoutSecrets(part)}'`);
    return { host, port: Number(port) };
  });
}

function readRegex(source: string): RegExp | undefined {
  if (source === '') return undefined;
  try {
    return new RegExp(source);
  } catch {
    throw new Error(`excludeHeaderMetaRegex wants a regular expression, not '${source}'`);
  }
}
