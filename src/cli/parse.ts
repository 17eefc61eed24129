/**
 * Reads a command line. Flags may stand before the command (`dapr --app-id a run ...`), where it is not known yet
 * whose they are: a first pass finds the command, and then all of them are read as if they stood behind it.
 */

import { aliases, commandNames } from './commands.ts';
import { nearest } from '../lib/nearest.ts';
import { type Failure, usage } from './failure.ts';
import { type CommandName, type Flag, FLAGS, flagsOf } from './flags.ts';

import { Options } from './options.ts';

export interface Parsed {
  /** Absent: only flags were given. */
  readonly command?: CommandName;
  readonly options: Options;
  /** The plain words; for `run` the app's command line, untouched. */
  readonly operands: readonly string[];
  /** Remarks on old spellings and flags without effect, for `--verbose`. */
  readonly remarks: readonly string[];
  /** Likely mistakes, always shown. */
  readonly hints: readonly string[];
}

/** What a name means: the flag, and how it was spelt. */
interface Meaning {
  readonly flag: Flag;
  readonly old?: true;
  readonly negated?: true;
}

/** Meanings by name. Present names win over old ones: `-d` is publish's data though it once was run's path. */
class Names {
  readonly #meanings = new Map<string, Meaning>();

  constructor(flags: readonly Flag[]) {
    for (const flag of flags) for (const name of [flag.name, flag.short]) if (name) this.#add(name, { flag });
    for (const flag of flags) for (const old of flag.old ?? []) this.#add(old, { flag, old: true });
    for (const flag of flags) if (flag.kind === 'boolean') this.#add(`no-${flag.name}`, { flag, negated: true });
  }

  #add(name: string, meaning: Meaning): void {
    if (!this.#meanings.has(name)) this.#meanings.set(name, meaning);
  }

  get(name: string): Meaning | undefined {
    return this.#meanings.get(name);
  }

  long(): string[] {
    return [...this.#meanings.keys()].filter((name) => name.length > 1);
  }
}

const EVERY_NAME = new Names(FLAGS);

/** One word that begins with a dash: the name as typed and what it means, and the value if that is in the same word. */
interface FlagWord {
  readonly typed: string;
  readonly meaning: Meaning | undefined;
  readonly value: string | undefined;
}

const isFlag = (word: string): boolean => word.length > 1 && word.startsWith('-');

/** `--name`, `--name=value`, `-name`, `-n`, `-n=value`, `-nvalue`. */
function readFlagWord(word: string, names: Names): FlagWord {
  const [typed = '', ...rest] = word.split('=');
  const value = rest.length > 0 ? rest.join('=') : undefined;
  const name = typed.replace(/^--?/, '');
  const isLetter = name.length === 1;
  const meaning = typed.startsWith('--') && isLetter ? undefined : names.get(name);
  if (meaning || typed.startsWith('--')) return { typed, meaning, value };
  const letter = names.get(name.charAt(0));
  if (letter === undefined || letter.flag.kind === 'boolean') return { typed, meaning, value };
  return { typed: typed.slice(0, 2), meaning: letter, value: word.slice(2).replace(/^=/, '') };
}

/** The command's word and all others in their order. */
function splitCommand(words: readonly string[]): { word?: string; others: string[] } {
  let index = 0;
  for (; index < words.length && words[index] !== '--'; index += 1) {
    const word = words[index] as string;
    if (!isFlag(word)) return { word, others: words.toSpliced(index, 1) };
    const { meaning, value } = readFlagWord(word, EVERY_NAME);
    const next = words[index + 1] ?? '';
    const takesNext = meaning ? meaning.flag.kind !== 'boolean' : !isFlag(next) && !commandNames.includes(next);
    if (value === undefined && takesNext) index += 1;
  }
  return { others: [...words] };
}

/** Throws a Failure of exit code 2 for what is no command or no flag of it. */
export function parse(argv: readonly string[]): Parsed {
  if (argv[0] === '__complete') {
    return { command: '__complete', options: new Options(), operands: argv.slice(1), remarks: [], hints: [] };
  }
  const { word, others } = splitCommand(argv);
  if (word === undefined) return readWords(others, undefined);
  const command = aliases.get(word);
  if (command === undefined) throw unknownCommand(word);
  return readWords(others, command);
}

function readWords(words: readonly string[], command: CommandName | undefined): Parsed {
  const names = command === undefined ? EVERY_NAME : new Names(flagsOf(command));
  const options = new Options();
  const remarks: string[] = [];
  const operands: string[] = [];
  const hints: string[] = [];
  for (let index = 0; index < words.length; index += 1) {
    const word = words[index] as string;
    if (isFlag(word) && word !== '--') {
      const { typed, meaning, value, isInline } = readFlag(word, words[index + 1], names, command);
      if (!isInline) index += 1;
      options.add(meaning.flag, typed, value, meaning.negated);
      remarks.push(...remarksOn(typed, meaning));
    } else if (word === '--' || command === 'run') {
      operands.push(...words.slice(word === '--' ? index + 1 : index));
      if (word !== '--') hints.push(...swallowed(operands, names));
      break;
    } else operands.push(word);
  }
  return { ...(command ? { command } : {}), options, operands, remarks, hints };
}

/** A flag with its value, which is in the same word or the next. Throws a usage failure for what cannot be one. */
function readFlag(word: string, next: string | undefined, names: Names, command: CommandName | undefined) {
  const { typed, meaning, value: inline } = readFlagWord(word, names);
  if (meaning === undefined) throw unknownFlag(typed, command, names);
  if (meaning.flag.refused) throw usage(`${typed}: ${meaning.flag.refused}`);
  const isInline = meaning.flag.kind === 'boolean' || inline !== undefined;
  const value = isInline ? (inline ?? 'true') : next;
  if (value === undefined) throw usage(`${typed} wants a value`);
  return { typed, meaning, value, isInline };
}

function remarksOn(typed: string, { flag, old }: Meaning): string[] {
  if (flag.ignored) return [`${typed} has no effect: ${flag.ignored}`];
  return old ? [`${typed} is the old name of --${flag.name}`] : [];
}

/** The app keeps its words; but one that is also a flag of ours may have been meant for us. */
function swallowed(operands: readonly string[], names: Names): string[] {
  return operands.slice(1).flatMap((word, index) => {
    const meaning = word.startsWith('--') ? readFlagWord(word, names).meaning : undefined;
    if (!meaning?.flag.commands) return [];
    const takesNext = meaning.flag.kind !== 'boolean' && !word.includes('=');
    const shown = takesNext ? `${word} ${operands[index + 2] ?? ''}`.trim() : word;
    return [
      `\`${shown}\` stands after the command and goes to ${operands[0]}; put it before ${operands[0]} if it was for the sidecar`,
    ];
  });
}

function unknownFlag(typed: string, command: CommandName | undefined, names: Names): Failure {
  const where = command ? `\`dapr ${command}\`` : '`dapr`';
  const name = typed.replace(/^-+/, '');
  const elsewhere = EVERY_NAME.get(name)
    ?.flag.commands?.map((one) => `\`dapr ${one}\``)
    .join(', ');
  if (elsewhere) return usage(`${typed} is not a flag of ${where}`, `it is one of ${elsewhere}`);
  const near = nearest(name, names.long());
  const meant = near ? `did you mean --${near}?` : `\`dapr help ${command ?? ''}`.trimEnd() + '` lists them';
  return usage(`${typed} is not a flag of ${where}`, meant);
}

const NO_INVOKE =
  'Calling other services is not part of a pub/sub sidecar; call the app’s own address, for example with curl.';

const ELSEWHERE: Readonly<Record<string, string>> = {
  invoke: NO_INVOKE,
  invokeGet: NO_INVOKE,
  invokePost: NO_INVOKE,
  dashboard: 'There is no dashboard; `dapr list` shows what runs and GET /v1.0/metadata what one sidecar has loaded.',
};

function unknownCommand(word: string): Failure {
  const known = Object.hasOwn(ELSEWHERE, word) ? ELSEWHERE[word] : undefined;
  if (known) return usage(`there is no \`dapr ${word}\``, known);
  const near = nearest(word, commandNames);
  return usage(`there is no command "${word}"`, near ? `did you mean \`dapr ${near}\`?` : '`dapr help` lists them');
}
