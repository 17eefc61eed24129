/** From the words of the command line to an exit code. */

import { type Command, commandNamed } from './commands.ts';
import { environment, withoutColours } from './environment.ts';
import { Exit, failureOf, printFailure, usage } from './failure.ts';
import type { CommandName } from './flags.ts';
import { say, warn } from './output.ts';
import { parse, type Parsed } from './parse.ts';

/** Runs what `argv` (without the program's name) asks for. Never rejects. */
export async function main(argv: readonly string[]): Promise<number> {
  endWithReader();
  const asJson = wantsJson(argv);
  let verbose = false;
  try {
    const parsed = parse(argv);
    verbose = parsed.options.on('verbose') ?? false;
    if (parsed.options.on('color') === false) withoutColours();
    if (verbose) for (const remark of parsed.remarks) say(remark);
    for (const hint of parsed.hints) warn(hint);
    const { command, operands } = choose(parsed);
    refuseMore(command, operands);
    const perform = await command.load();
    return await perform({
      options: parsed.options,
      operands,
      home: environment(parsed.options.text('runtime-path')).home,
    });
  } catch (thrown) {
    const failure = failureOf(thrown, verbose);
    printFailure(failure, asJson);
    return failure.exit;
  }
}

/** Whoever reads our output may stop reading, as `head` does: that is no error, and the end of us. */
function endWithReader(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => process.exit(Exit.failed));
}

/** `--help` and `--version` stand for commands, and so does nothing at all. */
function choose({ command, options, operands }: Parsed): { command: Command; operands: readonly string[] } {
  const helpOf = (name: CommandName | undefined): { command: Command; operands: readonly string[] } => ({
    command: commandNamed('help'),
    operands: name === undefined ? [] : [name],
  });
  if (options.on('help')) return helpOf(command);
  if (options.on('version') || command === undefined) {
    return options.on('version') ? { command: commandNamed('version'), operands: [] } : helpOf(undefined);
  }
  return { command: commandNamed(command), operands };
}

/** A word that would be ignored was meant to say something. */
function refuseMore({ name, operands: most = Infinity }: Command, operands: readonly string[]): void {
  if (operands.length > most) throw usage(`\`dapr ${name}\` has no use for "${operands[most]}"`, `dapr help ${name}`);
}

/** Known before the line is understood, since failing to understand it must be said in JSON as well. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  const ours = end === -1 ? argv : argv.slice(0, end);
  return ours.some(
    (word, index) =>
      /^(-o|--?output)=?json$/.test(word) || (/^(-o|--?output)$/.test(word) && ours[index + 1] === 'json'),
  );
}
