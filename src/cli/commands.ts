/** Every command: what it is for, how it is called, and where its code is. The code is loaded when it is called. */

import type { CommandName } from './flags.ts';
import type { Options } from './options.ts';

/** One call of a command. */
export interface Call {
  readonly options: Options;
  readonly operands: readonly string[];
  /** The Dapr home directory, by default ~/.dapr. It may not exist. */
  readonly home: string;
}

export interface Command {
  readonly name: CommandName;
  readonly alias?: string;
  readonly summary: string;
  /** The line after `dapr`. */
  readonly usage: string;
  readonly examples: readonly string[];
  /** How many plain words it takes; without it any number, which it judges itself. */
  readonly operands?: number;
  readonly hidden?: true;
  /** The function resolves with the exit code, or rejects with a Failure. */
  readonly load: () => Promise<(call: Call) => Promise<number>>;
}

const COMMANDS: readonly Command[] = [
  {
    name: 'init',
    summary: 'Prepare this machine: directories and a pub/sub component. Safe to repeat.',
    usage: 'init [flags]',
    examples: ['dapr init', 'dapr init --broker sqlite', 'dapr init --redis-host redis.example:6379'],
    operands: 0,
    load: async () => (await import('./init.ts')).init,
  },
  {
    name: 'run',
    summary: 'Run a sidecar, and an app beside it.',
    usage: 'run [flags] [--] [app...]',
    examples: [
      'dapr run --app-id app1 --app-port 5000 python app1.py',
      'dapr run --app-id app2 --app-port 3000 --resources-path ./components -- node app2.js --its --own flags',
      'dapr run --app-id myapp --dapr-http-port 3500',
    ],
    load: async () => (await import('./run.ts')).run,
  },
  {
    name: 'publish',
    summary: 'Publish an event, through a running sidecar or straight to the broker.',
    usage: 'publish --topic <name> --data <text> [flags]',
    examples: [
      `dapr publish --pubsub pubsub --topic deathStarStatus --data '{"status": "completed"}'`,
      'dapr publish -t orders -f order.json -m ttlInSeconds=60',
      'dapr publish -t orders -f orders.ndjson --lines --batch 200',
    ],
    load: async () => (await import('./publish.ts')).publish,
  },
  {
    name: 'list',
    alias: 'ps',
    summary: 'Show the sidecars that run.',
    usage: 'list [flags]',
    examples: ['dapr list', 'dapr list -o json'],
    operands: 0,
    load: async () => (await import('./list.ts')).list,
  },
  {
    name: 'groups',
    summary: 'Show the consumer groups of the embedded broker and how far they are, or remove one.',
    usage: 'groups [--remove <group>] [flags]',
    examples: ['dapr groups', 'dapr groups -o json', 'dapr groups --remove old-app --yes'],
    operands: 0,
    load: async () => (await import('./groups.ts')).groups,
  },
  {
    name: 'parked',
    summary: 'Show what is parked of the subscriptions of sidecars that run, or have it delivered again.',
    usage: 'parked [--deliver] [flags]',
    examples: ['dapr parked', 'dapr parked -o json', 'dapr parked --deliver --app-id app1 --topic orders'],
    operands: 0,
    load: async () => (await import('./parked.ts')).parked,
  },
  {
    name: 'stop',
    summary: 'Stop apps and their sidecars: deliveries in hand are finished first.',
    usage: 'stop <app-id>... | --all',
    examples: ['dapr stop app1', 'dapr stop --all --timeout 30s'],
    load: async () => (await import('./stop.ts')).stop,
  },
  {
    name: 'uninstall',
    summary: 'Undo `dapr init`: end what it started; with --all delete the Dapr home directory and its events.',
    usage: 'uninstall [--all]',
    examples: ['dapr uninstall', 'dapr uninstall --all --yes'],
    operands: 0,
    load: async () => (await import('./uninstall.ts')).uninstall,
  },
  {
    name: 'version',
    summary: 'Show the versions.',
    usage: 'version [-o json]',
    examples: ['dapr version'],
    operands: 0,
    load: async () => (await import('./version.ts')).version,
  },
  {
    name: 'completion',
    summary: 'Print a shell’s completion script.',
    usage: 'completion bash|zsh|fish|powershell',
    examples: ['source <(dapr completion bash)', 'dapr completion fish > ~/.config/fish/completions/dapr.fish'],
    operands: 1,
    load: async () => (await import('./completion.ts')).completion,
  },
  {
    name: 'help',
    summary: 'Show this, or the help of a command.',
    usage: 'help [command] [--all]',
    examples: ['dapr help run', 'dapr help run --all'],
    operands: 1,
    load: async () => (await import('./help.ts')).help,
  },
  {
    name: '__complete',
    summary: '',
    usage: '',
    examples: [],
    hidden: true,
    load: async () => (await import('./complete.ts')).complete,
  },
];

export const shownCommands = COMMANDS.filter((command) => !command.hidden);

/** Command names by what may be typed for them. */
export const aliases: ReadonlyMap<string, CommandName> = new Map(
  shownCommands.flatMap(({ name, alias }) => [[name, name] as const, ...(alias ? [[alias, name] as const] : [])]),
);

export const commandNames: readonly string[] = [...aliases.keys()];

export function commandNamed(name: CommandName): Command {
  return COMMANDS.find((command) => command.name === name) as Command;
}
