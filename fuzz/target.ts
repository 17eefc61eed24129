/** What is fuzzed: where inputs come from, and what must never come of one. */

import type { Random } from './random.ts';

export interface Target {
  readonly name: string;
  readonly about: string;
  /** The next input: structured, or damaged bytes. */
  generate(random: Random): Buffer;
  /** Opens what is fuzzed. */
  open(): Promise<Subject>;
}

export interface Subject {
  /** Resolves with what went wrong; undefined where nothing did. Rejecting is a failure, too. */
  run(input: Buffer): Promise<string | undefined>;
  /** Looks once more at the end, for what shows late. */
  finish?(): Promise<string | undefined>;
  close(): Promise<void>;
}

/** What an error says that nobody meant: one of the language's own. */
export function isAccident(error: unknown): boolean {
  const ours = [TypeError, RangeError, ReferenceError].some((kind) => error instanceof kind);
  return ours || isAccidentText(error instanceof Error ? error.message : String(error));
}

export const isAccidentText = (text: string): boolean =>
  /Cannot (read|set|convert|destructure|access)|is not (a function|iterable|defined|a constructor)|Maximum call stack|Invalid array length|Invalid string length|out of memory/.test(
    text,
  );
