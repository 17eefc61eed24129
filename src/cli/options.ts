import { messageOf } from '../core/errors.ts';
import { parseDuration } from '../lib/duration.ts';
import { usage } from './failure.ts';
import type { Flag } from './flags.ts';

/** The flags that were given, by their present names. Values are checked as they are added. */
export class Options {
  readonly #given = new Map<string, { flag: Flag; values: string[] }>();

  /** Adds one reading. `typed` is how the user spelt the flag; `negated` turns a boolean round. Throws a usage failure. */
  add(flag: Flag, typed: string, value: string, negated = false): void {
    const checked = check(flag, typed, value);
    const entry = this.#given.get(flag.name) ?? { flag, values: [] };
    entry.values.push(negated ? String(checked !== 'true') : checked);
    this.#given.set(flag.name, entry);
  }

  /** The last value given. */
  text(name: string): string | undefined {
    return this.#given.get(name)?.values.at(-1);
  }

  /** All values given, in order. */
  list(name: string): readonly string[] {
    return this.#given.get(name)?.values ?? [];
  }

  number(name: string): number | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : Number(value);
  }

  /** Undefined when it was not given: some booleans are on by default. */
  on(name: string): boolean | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : value === 'true';
  }

  /** Milliseconds. A bare number counts seconds. */
  duration(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const ms = parseDuration(value, 1000);
    if (ms === undefined || ms < 0) throw usage(`--${name} wants a duration such as 500ms, 10s or 2m, not "${value}"`);
    return ms;
  }

  /** What was given of the flags that `pick` wants. */
  given(pick: (flag: Flag) => boolean): { flag: Flag; values: readonly string[] }[] {
    return [...this.#given.values()].filter((entry) => pick(entry.flag));
  }
}

/** The value as it is kept; throws when the flag cannot have it. */
function check(flag: Flag, typed: string, value: string): string {
  if (flag.kind === 'boolean') {
    if (/^(1|t|true)$/i.test(value)) return 'true';
    if (/^(0|f|false)$/i.test(value)) return 'false';
    throw usage(`${typed} is on or off (true or false), not "${value}"`);
  }
  if (flag.kind === 'count' && !/^[1-9]\d*$/.test(value))
    throw usage(`${typed} wants a number from 1 up, not "${value}"`);
  if (flag.choices) {
    const choice = flag.choices.find((one) => one === value.toLowerCase());
    if (choice !== undefined) return choice;
    throw usage(`${typed} is one of ${flag.choices.join(', ')}, not "${value}"`);
  }
  try {
    flag.sidecar?.(value);
  } catch (error) {
    throw usage(`${typed} wants ${messageOf(error)}, not "${value}"`);
  }
  return value;
}
