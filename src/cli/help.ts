import { styleText } from 'node:util';
import { nearest } from '../lib/nearest.ts';
import { aliases, type Call, type Command, commandNamed, commandNames, shownCommands } from './commands.ts';
import { Exit, usage } from './failure.ts';
import { type CommandName, type Flag, flagsOf } from './flags.ts';

const WIDTH = 34;
const title = (text: string): string => styleText('bold', text, { stream: process.stdout });

/** Prints the help of everything or of one command; `--all` adds the spellings of former versions. */
export async function help({ options, operands }: Call): Promise<number> {
  const [word] = operands;
  if (word === undefined) {
    process.stdout.write(overview());
    return Exit.done;
  }
  const name = aliases.get(word);
  if (name === undefined) {
    throw usage(`there is no command "${word}"`, `dapr help ${nearest(word, commandNames) ?? ''}`.trimEnd());
  }
  process.stdout.write(commandHelp(commandNamed(name), options.on('all') ?? false));
  return Exit.done;
}

function overview(): string {
  const commands = shownCommands.map(({ name, alias, summary }) => row(alias ? `${name}, ${alias}` : name, summary));
  return [
    'Publish and subscribe for any app: an acknowledged event is never lost.',
    '',
    title('Start here'),
    '  dapr init',
    '  dapr run --app-id app1 --app-port 5000 python app1.py',
    `  dapr publish --pubsub pubsub --topic deathStarStatus --data '{"status": "completed"}'`,
    '',
    title('Commands'),
    ...commands,
    '',
    title('Flags of every command'),
    ...flagsOf('version')
      .filter((flag) => !flag.commands)
      .map(flagRow),
    '',
    '`dapr help <command>` tells more of one.',
    '',
  ].join('\n');
}

function commandHelp(command: Command, all: boolean): string {
  const flags = flagsOf(command.name).filter((flag) => !flag.ignored && !flag.refused);
  const sections = [
    [command.summary],
    [title('Usage'), `  dapr ${command.usage}`],
    [title('Examples'), ...command.examples.map((example) => `  ${example}`)],
    [title('Flags'), ...flags.map(flagRow)],
    all ? [title('Spellings of former versions'), ...oldRows(command.name)] : [],
    command.name === 'run' ? [title('Exit code'), ...RUN_CODES] : [],
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

const RUN_CODES = [
  '  the app’s own; 128 and the number of the signal that ended it; 0 after a stop that was asked for',
  '  125 the sidecar or this command failed, 126 the app cannot be executed, 127 it was not found,',
  '  5 the app did not listen within --app-wait-timeout, 2 wrong flags',
];

const row = (left: string, right: string): string =>
  left.length + 4 > WIDTH ? `  ${left}\n${' '.repeat(WIDTH)}${right}` : `  ${left}`.padEnd(WIDTH) + right;

function flagRow(flag: Flag): string {
  const name = flag.negated ? `no-${flag.name}` : flag.name;
  const value =
    flag.kind === 'boolean'
      ? ''
      : ` ${flag.choices?.join('|') ?? `<${flag.value ?? (flag.kind === 'count' ? 'number' : 'text')}>`}`;
  return row(`${flag.short ? `-${flag.short}, ` : '    '}--${name}${value}`, flag.description);
}

function oldRows(command: CommandName): string[] {
  return flagsOf(command).flatMap((flag) => {
    const names = [...(flag.ignored ? [flag.name] : []), ...(flag.old ?? [])];
    const meaning = flag.ignored ? `no effect: ${flag.ignored}` : `--${flag.name}`;
    return names.map((name) => row(name.length === 1 ? `-${name}` : `--${name}`, meaning));
  });
}
