/** Standard output carries data and nothing else; what is said about it goes to standard error. */

import { styleText } from 'node:util';

export type Form = 'table' | 'json' | 'yaml';

/** Prints `value` in the form that was asked for; `text` is its form for people. */
export async function printData(value: unknown, form: string | undefined, text: () => string): Promise<void> {
  if (form === 'json') return void process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  if (form === 'yaml') return void process.stdout.write((await import('js-yaml')).dump(value));
  process.stdout.write(text());
}

/** One line on standard error, for people. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A remark on standard error that ought to be read. */
export function warn(line: string): void {
  say(`${styleText('yellow', 'note', { stream: process.stderr })}   ${line}`);
}

/** Rows under their titles, in columns. A column in which every cell is empty is left out. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const shown = titles.map((_, column) => rows.length === 0 || rows.some((row) => row[column] !== ''));
  const lines = [titles, ...rows].map((row) => row.filter((_, column) => shown[column]));
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] as number))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
