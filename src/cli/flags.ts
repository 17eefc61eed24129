/**
 * Every flag of every command: one table drives the parser, the help, the completion and what `run` hands to the
 * sidecar, whose own flags are all flags of `run`. A name or letter used by two commands takes a value in both or in
 * neither, so that flags can be read before the command is known (a test holds us to it).
 */

import { FLAGS as SIDECAR_FLAGS, IGNORED_FLAGS } from '../config/flag-table.ts';
import type { Setting } from '../lib/settings.ts';

export type CommandName =
  | 'init'
  | 'run'
  | 'publish'
  | 'list'
  | 'groups'
  | 'parked'
  | 'stop'
  | 'uninstall'
  | 'version'
  | 'completion'
  | 'help'
  | '__complete';

/** A `count` is a whole number from 1 up; a `list` may be given several times. */
export type FlagKind = 'boolean' | 'text' | 'count' | 'list';

export interface Flag {
  readonly name: string;
  readonly kind: FlagKind;
  /** Absent: every command has it. */
  readonly commands?: readonly CommandName[];
  /** One letter. */
  readonly short?: string;
  /** Spellings of former versions, kept for ever; one letter goes with one dash. */
  readonly old?: readonly string[];
  /** What the help calls the value. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly description: string;
  /** A flag of the sidecar: `run` hands it on. Throws for a value that it cannot have. */
  readonly sidecar?: (value: string) => unknown;
  /** On unless negated; the help shows `--no-<name>`. */
  readonly negated?: true;
  /** Parsed, without effect. The text says why. */
  readonly ignored?: string;
  /** Not built. The text says so and what to do instead. */
  readonly refused?: string;
}

type Extra = Omit<Flag, 'name' | 'kind' | 'description'>;

const flag =
  (kind: FlagKind) =>
  (name: string, description: string, extra: Extra = {}): Flag => ({
    name,
    kind,
    description,
    ...extra,
  });
const boolean = flag('boolean');
const text = flag('text');
const count = flag('count');
const list = flag('list');

const run: { commands: readonly CommandName[] } = { commands: ['run'] };
const publish: { commands: readonly CommandName[] } = { commands: ['publish'] };
const init: { commands: readonly CommandName[] } = { commands: ['init'] };

const GLOBAL: readonly Flag[] = [
  boolean('help', 'Show this.', { short: 'h' }),
  boolean('version', 'Show the versions.', { short: 'v' }),
  boolean('verbose', 'Say more on standard error.'),
  boolean('color', 'No colours; NO_COLOR does the same.', { negated: true }),
  text('runtime-path', 'Where `.dapr` lies instead of the home directory. Also DAPR_RUNTIME_PATH.', { value: 'dir' }),
];

/** What `run` says of the sidecar's flags beyond what the sidecar says of them. */
const OF_RUN: Readonly<Record<string, Partial<Flag>>> = {
  'app-id': { short: 'a', old: ['i'], description: 'Name of the app, also its consumer group; invented when missing.' },
  'app-port': { short: 'p' },
  'app-protocol': { short: 'P', choices: ['http', 'https', 'grpc', 'grpcs', 'h2c'] },
  'app-not-found': { choices: ['retry', 'drop'] },
  'log-level': { choices: ['debug', 'info', 'warn', 'error', 'fatal'] },
  'dapr-http-port': {
    short: 'H',
    old: ['port'],
    description: 'Port of the HTTP API (3500 without an app, else the first free one from 3501 up).',
  },
  'dapr-grpc-port': {
    short: 'G',
    old: ['grpc-port'],
    description: 'Port of the gRPC API (50001 without an app, else the first free one from 50002 up).',
  },
  'metrics-port': { short: 'M', description: 'Port of the metrics (the first free one from 9090 up).' },
  'unix-domain-socket': { short: 'u', commands: ['run', 'publish', 'parked'] },
  'resources-path': {
    old: ['components-path', 'd'],
    commands: ['run', 'publish', 'groups'],
    description: 'Directory with components and subscriptions. Repeatable (~/.dapr/components).',
  },
  config: { short: 'c', description: 'File with a Configuration. Repeatable (~/.dapr/config.yaml).' },
  'dapr-internal-grpc-port': { short: 'I' },
};

const NOT_OF_RUN: ReadonlySet<string> = new Set(['version', 'help', 'wait', 'build-info', 'components-path']);
const KINDS: Readonly<Record<string, FlagKind>> = { boolean: 'boolean', list: 'list' };

const sidecarFlag = ([name, setting]: [string, Setting<unknown>]): Flag => ({
  name,
  kind: KINDS[setting.kind] ?? 'text',
  commands: ['run'],
  old: setting.aliases,
  value: setting.kind,
  description: setting.description,
  sidecar: setting.parse,
  ...(name in IGNORED_FLAGS && { ignored: 'it concerns nothing that a pub/sub sidecar has' }),
  ...OF_RUN[name],
});

const RUN: readonly Flag[] = [
  ...Object.entries({ ...SIDECAR_FLAGS, ...IGNORED_FLAGS })
    .filter(([name]) => !NOT_OF_RUN.has(name))
    .map(sidecarFlag),
  text('app-wait-timeout', 'How long the app may take to listen (no limit).', { ...run, value: 'duration' }),
  list('env', 'Environment of the app, K=V; may be repeated.', { ...run, value: 'K=V' }),
  list('env-file', 'File of such lines.', { ...run, value: 'file' }),
  boolean('prefix', 'The app’s lines as they are, also on a terminal.', { ...run, negated: true }),
  boolean('timestamps', 'The time before each line of the app.', run),
  text('ready-file', 'Written when everything is ready: ports and pids as JSON.', { ...run, value: 'file' }),
  boolean('compat', 'Print the lines that scripts written for Dapr’s own CLI look for.', run),
  text('run-file', '', {
    ...run,
    short: 'f',
    refused: 'Several apps from one file are not built; start each with its own `dapr run`.',
  }),
  boolean('kubernetes', '', {
    commands: ['run', 'init', 'uninstall', 'list', 'stop'],
    short: 'k',
    refused: 'Kubernetes is not built into this command.',
  }),
  boolean('watch', '', {
    ...run,
    refused: 'Restarting on changes is not built; use `node --watch` or the like as the app.',
  }),
  text('restart', '', {
    ...run,
    refused: 'Restarting the app is not built; a service manager around `dapr run` does it.',
  }),
  boolean('detach', '', { ...run, refused: 'Detaching is not built; put `&` or a service manager around `dapr run`.' }),
];

const PUBLISH: readonly Flag[] = [
  text('publish-app-id', 'Through the sidecar of this app; else the best one that runs.', {
    ...publish,
    short: 'i',
    value: 'id',
  }),
  text('sidecar', 'Through this one: an app id, a URL or a socket.', {
    commands: ['publish', 'parked'],
    value: 'which',
  }),
  text('pubsub', 'Name of the pub/sub component; may be left out when there is only one.', {
    commands: ['publish', 'groups', 'parked'],
    short: 'p',
    value: 'name',
  }),
  text('topic', 'Where to publish; of that topic only (parked).', {
    commands: ['publish', 'parked'],
    short: 't',
    value: 'name',
  }),
  text('data', 'The event: text, @file, or - for standard input.', {
    ...publish,
    short: 'd',
    old: ['payload'],
    value: 'text',
  }),
  text('data-file', 'File with the event.', { ...publish, short: 'f', value: 'file' }),
  list('metadata', 'As JSON, or k=v and repeated.', { ...publish, short: 'm', value: 'k=v' }),
  text('content-type', 'Media type of the data (JSON when it is JSON, else text).', { ...publish, value: 'type' }),
  boolean('raw', 'Without a CloudEvent around the data.', publish),
  text('ttl', 'How long the event is worth anything, for example 10s.', { ...publish, value: 'duration' }),
  text('id', 'Id of the CloudEvent.', publish),
  text('type', 'Type of the CloudEvent.', publish),
  text('source', 'Source of the CloudEvent.', publish),
  text('subject', 'Subject of the CloudEvent.', publish),
  boolean('lines', 'Each line of the data is an event.', publish),
  boolean('json-array', 'Each element of the data is an event.', publish),
  count('batch', 'Events in one call with --lines or --json-array (100).', publish),
  count('repeat', 'So many times, with {{n}} in the data counted from 1.', publish),
  boolean('dry-run', 'Show what would be sent.', publish),
  boolean('direct', 'Without a sidecar, straight to the broker; --no-direct forbids it.', publish),
  text('api-token', 'Token of the API (DAPR_API_TOKEN).', { commands: ['publish', 'parked'], value: 'token' }),
];

const INIT: readonly Flag[] = [
  text('broker', 'What pubsub.yaml uses (Redis when it answers, else sqlite).', {
    ...init,
    choices: ['redis', 'sqlite', 'memory'],
  }),
  text('redis-host', 'Address of Redis (localhost:6379).', { ...init, value: 'host' }),
  boolean('slim', 'Files only: look for nothing, start nothing.', { ...init, short: 's' }),
  boolean('force', 'Write the files again, keeping copies (init); kill what does not end (stop).', {
    commands: ['init', 'stop'],
  }),
  ...['image', 'image-registry', 'container-runtime', 'network', 'runtime-version', 'from-dir'].map((name) =>
    text(name, '', { commands: ['init', 'uninstall'], ignored: 'nothing is downloaded and no container is used' }),
  ),
];

const OTHERS: readonly Flag[] = [
  text('app-id', 'The app; to `stop` also given as plain words.', {
    commands: ['stop', 'parked'],
    short: 'a',
    value: 'id',
  }),
  boolean('all', 'Everything: all apps (stop), data and files too (uninstall), old spellings (help).', {
    commands: ['stop', 'uninstall', 'help'],
  }),
  text('timeout', 'How long to wait (15s).', { commands: ['stop', 'publish', 'parked'], value: 'duration' }),
  text('remove', 'Nothing is kept for this group any more; what it has not handled is gone for it.', {
    commands: ['groups'],
    value: 'group',
  }),
  boolean('deliver', 'Deliver it again now.', { commands: ['parked'] }),
  boolean('yes', 'Do not ask.', { commands: ['uninstall', 'groups'], short: 'y' }),
  text('output', 'Form of the answer.', {
    commands: ['list', 'publish', 'groups', 'parked', 'version', 'run'],
    short: 'o',
    choices: ['table', 'json', 'yaml'],
  }),
];

export const FLAGS: readonly Flag[] = [...RUN, ...PUBLISH, ...INIT, ...OTHERS, ...GLOBAL];

/** The flags a command knows, in the order the help shows them. */
export function flagsOf(command: CommandName): Flag[] {
  return FLAGS.filter((one) => one.commands?.includes(command) ?? true);
}

/** Every name a flag answers to, new and old; one letter goes with one dash. */
export function namesOf(one: Flag): string[] {
  return [one.name, ...(one.short ? [one.short] : []), ...(one.old ?? [])];
}
