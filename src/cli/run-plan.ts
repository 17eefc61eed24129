/** What `run` is going to start, read from its flags. */

import { randomInt } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { type DaprdOptions, parseDaprdFlags, UsageError } from '../config/flags.ts';
import type { Call } from './commands.ts';
import { variables } from './environment.ts';
import { Exit, Failure, usage } from './failure.ts';
import type { Options } from './options.ts';
import type { OutputWish } from './run-output.ts';

export interface RunPlan {
  /** The app and its arguments; empty for a sidecar alone. */
  readonly app: readonly string[];
  /** For the sidecar, as its command line takes them. */
  readonly flags: readonly string[];
  /** What the sidecar will understand by them. */
  readonly sidecar: DaprdOptions;
  /** Of the sidecar. */
  readonly variables: NodeJS.ProcessEnv;
  /** What --env-file and --env add to the app's. */
  readonly appVariables: NodeJS.ProcessEnv;
  /** The ports that were asked for by number. */
  readonly fixedPorts: readonly number[];
  /** How long the app may take to listen; undefined: for ever. */
  readonly appWaitMs: number | undefined;
  /** Written when everything is ready. */
  readonly readyFile: string | undefined;
  readonly output: OutputWish;
  /** What the user should know of the choices made. */
  readonly notes: readonly string[];
}

const WITH_APP = { 'dapr-http-port': 3501, 'dapr-grpc-port': 50_002, 'metrics-port': 9090 };
const ALONE = { 'dapr-http-port': 3500, 'dapr-grpc-port': 50_001, 'metrics-port': 9090 };

/** Throws a usage failure, or one that a file is missing. */
export function planRun({ options, operands, home }: Call): RunPlan {
  const notes: string[] = [];
  const flags = options
    .given(({ sidecar }) => sidecar !== undefined)
    .flatMap(({ flag, values }) =>
      (flag.kind === 'list' ? values : values.slice(-1)).map((value) => `--${flag.name}=${value}`),
    );
  if (options.text('app-id') === undefined) flags.push(`--app-id=${inventedName()}`);
  flags.push(...defaultFiles(home, options.list('resources-path'), options.list('config'), notes));
  const ports = Object.entries(operands.length > 0 ? WITH_APP : ALONE);
  for (const [name, first] of ports) if (options.text(name) === undefined) flags.push(`--${name}=${first}+`);
  const inherited = variables(options.text('runtime-path'));
  const sidecar = understood(flags, inherited);
  return {
    app: operands,
    flags,
    sidecar,
    variables: inherited,
    appVariables: { ...fromFiles(options.list('env-file')), ...fromPairs(options.list('env')) },
    fixedPorts: ports.map(([name]) => Number(options.text(name))).filter((port) => port > 0),
    appWaitMs: options.duration('app-wait-timeout'),
    readyFile: options.text('ready-file'),
    output: outputWish(options, sidecar),
    notes,
  };
}

function outputWish(options: Options, { appId, log }: DaprdOptions): OutputWish {
  const on = (name: string): boolean => options.on(name) ?? false;
  return {
    appId,
    form: options.text('output'),
    logAsJson: log.json,
    prefix: options.on('prefix') ?? true,
    timestamps: on('timestamps'),
    compat: on('compat'),
    showLog: on('verbose') || options.text('log-level') !== undefined,
  };
}

/** The default resources and Configuration, where they exist and nothing else was given. */
function defaultFiles(
  home: string,
  resources: readonly string[],
  configs: readonly string[],
  notes: string[],
): string[] {
  const flags: string[] = [];
  const components = join(home, 'components');
  const config = join(home, 'config.yaml');
  if (configs.length === 0 && existsSync(config)) flags.push(`--config=${config}`);
  if (resources.length > 0) return flags;
  const here = ['components', 'resources'].find((name) => existsSync(name));
  if (here) notes.push(`./${here} is not loaded unless you say so: --resources-path ./${here}`);
  if (existsSync(components)) flags.push(`--resources-path=${components}`);
  else
    notes.push(
      `${components} does not exist (\`dapr init\` makes it): a durable pub/sub "pubsub" on this machine is assumed`,
    );
  return flags;
}

function understood(flags: readonly string[], environment: NodeJS.ProcessEnv): DaprdOptions {
  try {
    const command = parseDaprdFlags(flags, environment);
    if (command.kind === 'run') return command.options;
    throw usage(`this asks the sidecar for its ${command.kind}: use daprd --${command.kind}`);
  } catch (error) {
    throw error instanceof UsageError ? usage(error.message) : error;
  }
}

function fromFiles(paths: readonly string[]): NodeJS.ProcessEnv {
  const contents = paths.map((path) => {
    try {
      return parseEnv(readFileSync(path, 'utf8'));
    } catch (error) {
      throw new Failure(`cannot read ${path}`, {
        exit: Exit.runFailed,
        code: 'NO_FILE',
        why: (error as Error).message,
      });
    }
  });
  return Object.assign({}, ...contents) as NodeJS.ProcessEnv;
}

function fromPairs(pairs: readonly string[]): NodeJS.ProcessEnv {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw usage(`--env wants K=V, not "${pair}"`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

const FIRST = [
  'amber',
  'brisk',
  'calm',
  'clear',
  'coral',
  'eager',
  'gentle',
  'keen',
  'light',
  'lucky',
  'noble',
  'quiet',
  'rapid',
  'sunny',
];
const SECOND = [
  'badger',
  'crane',
  'falcon',
  'finch',
  'heron',
  'lynx',
  'marten',
  'otter',
  'raven',
  'robin',
  'seal',
  'swift',
  'tern',
  'wren',
];

/** Two words and a dash, as `calm-otter`. */
function inventedName(): string {
  return `${FIRST[randomInt(FIRST.length)]}-${SECOND[randomInt(SECOND.length)]}`;
}
