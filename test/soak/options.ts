/** The command line of the soak. */

import { parseArgs } from 'node:util';
import { ROWS } from './rows.ts';

export interface Options {
  /** Numbers of the rows, in the order they are performed. */
  readonly rows: readonly number[];
  /** For all rows together; 0 for their short form. */
  readonly minutes: number;
  readonly seed: number;
  /** What limits of time are multiplied by. */
  readonly patience: number;
  readonly output: 'table' | 'json';
}

const list = Object.entries(ROWS)
  .map(([number, { about }]) => `  ${number.padStart(2)}  ${about}`)
  .join('\n');

const HELP = `Faults against the real thing: sidecars, Redis, an app and a load, all of them processes, and an auditor that compares
what was acknowledged with what was handled.

  npm run soak -- [options]

  --row A,B             which rows (all)
  --minutes N           for all of them together; each goes on for its share, and ends its last round (60)
  --short               one or a few rounds of each, as in CI
  --patience N          limits of time are so many times as long, on a machine that does other things too (1; 6 if short)
  --seed N              of what happens by chance (random); it is printed
  --output table|json, -o
  --help, -h

Rows:
${list}

The exit code is 0 when everything held, 1 when something did not, 2 when the command line is wrong. Progress goes to
standard error.`;

const FLAGS = {
  row: { type: 'string', default: Object.keys(ROWS).join(',') },
  minutes: { type: 'string', default: '60' },
  short: { type: 'boolean', default: false },
  patience: { type: 'string' },
  seed: { type: 'string' },
  output: { type: 'string', short: 'o', default: 'table' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

function rowsOf(text: string): number[] {
  const numbers = text.split(',').map(Number);
  const unknown = numbers.find((number) => !(number in ROWS));
  if (unknown !== undefined) throw new Error(`--row: there is no ${unknown}, only ${Object.keys(ROWS).join(', ')}`);
  return numbers;
}

function number(flag: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= least))
    throw new Error(`--${flag} wants a number from ${least} up, not '${text}'`);
  return value;
}

/** Throws an Error that says what is wrong with a flag. Undefined: the help was asked for, and printed. */
export function readOptions(argv: string[]): Options | undefined {
  const { values } = parseArgs({ args: argv, options: FLAGS });
  if (values.help) {
    console.log(HELP);
    return undefined;
  }
  const { output } = values;
  if (output !== 'table' && output !== 'json') throw new Error(`--output wants table or json, not '${output}'`);
  return {
    rows: rowsOf(values.row),
    minutes: values.short ? 0 : number('minutes', values.minutes, 0),
    seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : number('seed', values.seed, 0),
    patience: number('patience', values.patience ?? (values.short ? '6' : '1'), 1),
    output,
  };
}
