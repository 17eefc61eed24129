/** The command line of daprd. Nothing else in the sidecar looks at it, nor at the environment that comes with it. */

import { messageOf } from '../core/errors.ts';
import { parseSettings, type Setting } from '../lib/settings.ts';
import type { Variables } from './environment.ts';
import { FLAG_GROUPS, FLAGS, IGNORED_FLAGS, type FlagValues } from './flag-table.ts';
import { nearest } from '../lib/nearest.ts';
import { optionsFrom, StartupError, UsageError, type DaprdOptions } from './options.ts';

export { StartupError, UsageError, type DaprdOptions } from './options.ts';
export type { PortChoice } from './flag-table.ts';

export type DaprdCommand =
  | { readonly kind: 'run'; readonly options: DaprdOptions }
  /** Wait until the sidecar at `httpPort` can be used. The app id may be empty. */
  | { readonly kind: 'wait'; readonly options: DaprdOptions }
  | { readonly kind: 'version' | 'build-info' | 'help' };

/**
 * What daprd is to do, from its arguments and `process.env`. Flags are `--name value` or `--name=value`, with one dash
 * or two; a boolean may stand alone. Throws a UsageError that says what is wrong, a StartupError where
 * it is no matter of spelling.
 */
export function parseDaprdFlags(argv: readonly string[], variables: Variables): DaprdCommand {
  const given = readArguments(argv);
  const flags = readValues(new Map([...fallbacks(variables), ...given]));
  if (flags.help) return { kind: 'help' };
  if (flags.version) return { kind: 'version' };
  if (flags['build-info']) return { kind: 'build-info' };
  if (!flags.wait) refuseAppId(flags['app-id']);
  const ignored = [...given]
    .filter(([name, value]) => name in IGNORED_FLAGS && value !== 'false')
    .map(([name]) => name);
  return { kind: flags.wait ? 'wait' : 'run', options: optionsFrom(flags, ignored, variables) };
}

/** Kubernetes sets APP_PORT to a URL where a service is called `app`: that one is not meant. */
function fallbacks(variables: Variables): [string, string][] {
  const port = variables['APP_PORT'] ?? '';
  return [
    ['app-id', variables['APP_ID'] ?? ''],
    ['app-port', /^\d+$/.test(port) ? port : ''],
    ['app-not-found', variables['DAPR_PUBSUB_NOT_FOUND'] ?? ''],
    ['parity', variables['DAPR_PUBSUB_PARITY'] ?? ''],
  ];
}

function readValues(raw: ReadonlyMap<string, string>): FlagValues {
  try {
    return parseSettings(FLAGS, Object.fromEntries(raw));
  } catch (error) {
    throw new UsageError(messageOf(error));
  }
}

/** App ids are sent in headers, and a dot in one would end it in a name on the network. */
function refuseAppId(appId: string): void {
  if (appId === '') throw new StartupError('parameter app-id cannot be empty');
  if (appId.includes('.')) throw new StartupError('parameter app-id cannot contain dots');
  if (/[^\x21-\x7e]/.test(appId)) throw new StartupError('parameter app-id can contain visible ASCII characters only');
}

const ALL: Readonly<Record<string, Setting<unknown>>> = { ...FLAGS, ...IGNORED_FLAGS };
const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(ALL).flatMap(([name, { aliases }]) => [name, ...aliases].map((one) => [one, name])),
);

/** The values as they were given, by the flag's present name. */
function readArguments(argv: readonly string[]): Map<string, string> {
  const given = new Map<string, string>();
  for (let at = 0; at < argv.length; at++) {
    const { name, value } = splitArgument(argv[at] as string);
    const next = argv[at + 1];
    let read = value;
    if (read === undefined && takesNext(name, next)) {
      read = next as string;
      at++;
    }
    const before = ALL[name]?.kind === 'list' ? given.get(name) : undefined;
    given.set(name, before === undefined ? (read ?? 'true') : `${before},${read}`);
  }
  return given;
}

function splitArgument(argument: string): { name: string; value: string | undefined } {
  const match = /^--?([^-=][^=]*)(?:=(.*))?$/s.exec(argument);
  if (!match) throw new UsageError(`unexpected argument '${argument}'`);
  const [, typed = '', value] = match;
  const name = NAMES.get(typed);
  if (name !== undefined) return { name, value };
  const meant = nearest(typed, [...NAMES.keys()]);
  throw new UsageError(`unknown flag: --${typed}${meant === undefined ? '' : `. Did you mean --${meant}?`}`);
}

/** Whether the argument after a flag is its value. */
function takesNext(name: string, next: string | undefined): boolean {
  if (ALL[name]?.kind === 'boolean') return next !== undefined && /^(true|false)$/.test(next);
  const isFlag = NAMES.has(/^--?([^=]+)/.exec(next ?? '')?.[1] ?? '');
  if (next === undefined || isFlag) throw new UsageError(`flag needs an argument: --${name}`);
  return true;
}

/** The help: every flag on a line of its own. */
export function usage(): string {
  const line = ([name, { kind, description, shown }]: [string, Setting<unknown>]): string => {
    const label = `  --${name}${kind === 'boolean' ? '' : ` ${kind}`}`.padEnd(44);
    const byDefault = shown === '' || shown === 'false' ? '' : ` (default ${shown})`;
    return `${label}${description}${byDefault}`;
  };
  const groups = Object.entries(FLAG_GROUPS).map(([title, flags]) => [title, ...Object.entries(flags).map(line), '']);
  return [
    'Usage: daprd --app-id ID [flags]',
    '',
    ...groups.flat(),
    'Taken for compatibility, without effect:',
    ...Object.keys(IGNORED_FLAGS).map((name) => `  --${name}`),
    '',
  ].join('\n');
}
