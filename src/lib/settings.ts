/**
 * Settings of a component: one declaration parses them, gives the defaults, reports every problem at once and
 * prints its own documentation. Keys match in any case, as in Dapr. (A schema library was measured at 50-60 ms
 * of start-up, a quarter of the budget, for what is six kinds of text.)
 */

import { formatGoDuration, parseDuration } from './duration.ts';

/** One setting: how its text is read and what the documentation says. */
export interface Setting<T> {
  readonly kind: string;
  readonly default: T;
  readonly description: string;
  /** Other names it goes by. */
  readonly aliases: readonly string[];
  /** The default as the documentation shows it. */
  readonly shown: string;
  /** Throws an Error that says what was wanted. */
  parse(text: string): T;
}

interface About<T> {
  readonly default: T;
  readonly description: string;
  readonly aliases?: readonly string[];
}

function setting<T>(kind: string, about: About<T>, shown: string, parse: (text: string) => T): Setting<T> {
  const { description, aliases = [] } = about;
  return { kind, default: about.default, description, aliases, shown, parse };
}

export const text = (about: About<string>): Setting<string> => setting('text', about, about.default, (value) => value);

export const integer = (about: About<number> & { min?: number }): Setting<number> =>
  setting('number', about, String(about.default), (value) => {
    const min = about.min ?? 0;
    if (!/^-?\d+$/.test(value.trim()) || Number(value) < min) throw new Error(`a whole number from ${min} up`);
    return Number(value);
  });

/** Accepts what Go's ParseBool does, and yes/no/on/off as Dapr's Kafka component does. */
export const boolean = (about: About<boolean>): Setting<boolean> =>
  setting('boolean', about, String(about.default), (value) => {
    if (/^(1|t|true|y|yes|on)$/i.test(value.trim())) return true;
    if (/^(0|f|false|n|no|off|)$/i.test(value.trim())) return false;
    throw new Error('true or false');
  });

/** Milliseconds. `bareUnitMs` is what a number without a unit counts. */
export const duration = (about: About<number> & { bareUnitMs?: number }): Setting<number> =>
  setting('duration', about, formatGoDuration(about.default), (value) => {
    const ms = parseDuration(value.trim(), about.bareUnitMs ?? 1);
    if (ms === undefined || ms < 0) throw new Error('a duration such as 500ms, 30s or 5m');
    return ms;
  });

/** Bytes, with the binary and decimal suffixes of Kubernetes quantities. */
export const quantity = (about: About<number> & { shown: string }): Setting<number> =>
  setting('size', about, about.shown, (value) => {
    const bytes = parseQuantity(value.trim());
    if (bytes === undefined) throw new Error('a size such as 64Mi or 1Gi');
    return bytes;
  });

export const choice = <C extends string>(about: About<C> & { of: readonly C[] }): Setting<C> =>
  setting('choice', about, about.default, (value) => {
    const found = about.of.find((one) => one.toLowerCase() === value.trim().toLowerCase());
    if (found === undefined) throw new Error(`one of ${about.of.join(', ')}`);
    return found;
  });

const SUFFIX: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Bytes of a Kubernetes quantity ("4Mi", "10k", "512"), or undefined when the text is none. */
export function parseQuantity(value: string): number | undefined {
  const match = /^([+-]?\d+(?:\.\d+)?)([kMGT]i?|Ki)?$/.exec(value);
  const factor = match && SUFFIX[match[2] ?? ''];
  return match && factor != null ? Math.trunc(Number(match[1]) * factor) : undefined;
}

export type Schema = Readonly<Record<string, Setting<unknown>>>;
export type Values<S extends Schema> = { readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never };

/** The values of `raw`, defaults filled in; keys the schema does not know are left alone. Throws one Error with every problem. */
export function parseSettings<S extends Schema>(schema: S, raw: Readonly<Record<string, string>>): Values<S> {
  const given = new Map(Object.entries(raw).map(([name, value]) => [name.toLowerCase(), value]));
  const problems: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, one] of Object.entries(schema)) {
    const found = [name, ...one.aliases]
      .map((n) => given.get(n.toLowerCase()))
      .find((v) => v !== undefined && v !== '');
    try {
      values[name] = found === undefined ? one.default : one.parse(found);
    } catch (error) {
      problems.push(`${name} wants ${(error as Error).message}, not '${found}'`);
    }
  }
  if (problems.length > 0) throw new Error(problems.join('; '));
  return values as Values<S>;
}

/** The schema as a table in Markdown. */
export function describeSettings(schema: Schema): string {
  const rows = Object.entries(schema).map(([name, one]) => {
    const names = [name, ...one.aliases].map((n) => `\`${n}\``).join(', ');
    return `| ${names} | ${one.kind} | ${one.shown === '' ? '' : `\`${one.shown}\``} | ${one.description} |`;
  });
  return ['| setting | kind | default | meaning |', '| --- | --- | --- | --- |', ...rows, ''].join('\n');
}
