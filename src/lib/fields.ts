/**
 * A mapping out of JSON or YAML, read by key in any case. Of several spellings of one key the last counts; null is
 * absent. Numbers and booleans may also be written as text, which is how the YAML reader hands them over; text may
 * not be written as a number. Errors name the place and the kind of what is there, never the value: it may be a secret.
 */
export class Fields {
  readonly #entries: readonly (readonly [string, unknown])[];
  readonly #place: string;

  constructor(value: unknown, place: string) {
    if (value != null && (typeof value !== 'object' || Array.isArray(value)))
      throw wrongKind(place, value, 'a mapping');
    this.#entries = Object.entries(value ?? {}).filter(([, one]) => one != null);
    this.#place = place;
  }

  /** The value as it was parsed, undefined when there is none. */
  raw(key: string): unknown {
    const wanted = key.toLowerCase();
    return this.#entries.findLast(([name]) => name.toLowerCase() === wanted)?.[1];
  }

  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  /** Empty when there is none. */
  text(key: string): string {
    return textAt(this.#at(key), this.raw(key) ?? '');
  }

  flag(key: string): boolean | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === 'boolean') return value;
    if (typeof value === 'string' && /^(true|false)$/i.test(value)) return value.toLowerCase() === 'true';
    throw wrongKind(this.#at(key), value, 'true or false');
  }

  integer(key: string): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const number = typeof value === 'string' && /^[+-]?\d+$/.test(value) ? Number(value) : value;
    if (!Number.isSafeInteger(number)) throw wrongKind(this.#at(key), value, 'a whole number');
    return number as number;
  }

  texts(key: string): string[] {
    return this.#list(key).map((one, index) => textAt(`${this.#at(key)}[${index}]`, one));
  }

  /** Empty when there is none. */
  child(key: string): Fields {
    return new Fields(this.raw(key), this.#at(key));
  }

  children(key: string): Fields[] {
    return this.#list(key).map((one, index) => new Fields(one, `${this.#at(key)}[${index}]`));
  }

  /** All of it, keys as they were written, every value a text. */
  record(): Record<string, string> {
    return Object.fromEntries(this.#entries.map(([name, value]) => [name, textAt(this.#at(name), value)]));
  }

  #list(key: string): unknown[] {
    const value = this.raw(key) ?? [];
    if (!Array.isArray(value)) throw wrongKind(this.#at(key), value, 'a list');
    return value;
  }

  #at(key: string): string {
    return this.#place === '' ? key : `${this.#place}.${key}`;
  }
}

function textAt(place: string, value: unknown): string {
  if (typeof value !== 'string') throw wrongKind(place, value, 'a text');
  return value;
}

/** The error for a value of another kind than `wanted`. */
export function wrongKind(place: string, value: unknown, wanted: string): Error {
  const kind = value === null ? 'empty' : Array.isArray(value) ? 'a list' : (KINDS[typeof value] ?? 'something else');
  return new Error(`${place || 'the document'} is ${kind}, not ${wanted}`);
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'a mapping',
  string: 'a text',
  number: 'a number',
  boolean: 'a boolean',
};
