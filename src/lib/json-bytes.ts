/**
 * JSON read as bytes: where a value ends, and where the members of an object lie. Payloads are carried, not parsed
 * and printed again, so numbers keep their text and a kilobyte costs a microsecond. Faults are worded as Go's
 * encoding/json words them, because clients see them.
 */

/** The bytes are not JSON. The message is Go's. */
export class JsonFault extends Error {}

/** One member of an object: its key, and the bytes of its value as [from, to). */
export interface Member {
  readonly key: string;
  readonly from: number;
  readonly to: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const MINUS = 0x2d;
const ZERO = 0x30;
const LOWER_U = 0x75;
/** Go refuses deeper nesting too. */
const MAX_DEPTH = 10_000;
const ESCAPABLE = new Set(Buffer.from('"\\/bfnrt'));
const LITERALS = new Map(['true', 'false', 'null'].map((word) => [word.charCodeAt(0), word]));

function fault(bytes: Uint8Array, at: number, where: string): JsonFault {
  if (at >= bytes.length) return new JsonFault('unexpected EOF');
  const char = Buffer.from(bytes.subarray(at, at + 4))
    .toString('utf8')
    .slice(0, 1);
  const shown = char === "'" ? "'\\''" : char === '"' ? "'\"'" : `'${char}'`;
  return new JsonFault(`invalid character ${shown} ${where}`);
}

/** First offset at or after `i` that is no white space. */
export function skipSpace(bytes: Uint8Array, i: number): number {
  for (;;) {
    const c = bytes[i];
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return i;
    i++;
  }
}

function isHex(c: number | undefined): boolean {
  return c !== undefined && ((c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x46) || (c >= 0x61 && c <= 0x66));
}

function escapeEnd(bytes: Uint8Array, i: number): number {
  const c = bytes[i + 1];
  if (c !== undefined && ESCAPABLE.has(c)) return i + 2;
  if (c !== LOWER_U) throw fault(bytes, i + 1, 'in string escape code');
  for (let k = i + 2; k < i + 6; k++) {
    if (!isHex(bytes[k])) throw fault(bytes, k, 'in \\u hexadecimal character escape');
  }
  return i + 6;
}

/** 1 for what goes on with a string: neither a quote, nor a backslash, nor a control character. */
const ORDINARY = Uint8Array.from({ length: 256 }, (_, c) => (c < 0x20 || c === QUOTE || c === BACKSLASH ? 0 : 1));

/** Whether four bytes from `i` on, which must be there, are ordinary: twice as fast as one after the other. */
const areOrdinary = (bytes: Uint8Array, i: number): boolean =>
  ((ORDINARY[bytes[i] as number] as number) &
    (ORDINARY[bytes[i + 1] as number] as number) &
    (ORDINARY[bytes[i + 2] as number] as number) &
    (ORDINARY[bytes[i + 3] as number] as number)) ===
  1;

function stringEnd(bytes: Uint8Array, i: number): number {
  const last = bytes.length - 4;
  for (i++; ;) {
    while (i <= last && areOrdinary(bytes, i)) i += 4;
    const c = bytes[i] as number;
    if (c === QUOTE) return i + 1;
    if (c === BACKSLASH) i = escapeEnd(bytes, i);
    else if (c >= 0x20) i++;
    else throw fault(bytes, i, 'in string literal');
  }
}

function digitsEnd(bytes: Uint8Array, i: number, where: string): number {
  const from = i;
  while ((bytes[i] as number) >= ZERO && (bytes[i] as number) <= 0x39) i++;
  if (i === from) throw fault(bytes, i, where);
  return i;
}

function numberEnd(bytes: Uint8Array, i: number): number {
  if (bytes[i] === MINUS) i++;
  i = bytes[i] === ZERO ? i + 1 : digitsEnd(bytes, i, 'in numeric literal');
  if (bytes[i] === 0x2e) i = digitsEnd(bytes, i + 1, 'after decimal point in numeric literal');
  if (bytes[i] === 0x65 || bytes[i] === 0x45) {
    i++;
    if (bytes[i] === 0x2b || bytes[i] === MINUS) i++;
    i = digitsEnd(bytes, i, 'in exponent of numeric literal');
  }
  return i;
}

function scalarEnd(bytes: Uint8Array, i: number): number {
  const c = bytes[i];
  if (c === QUOTE) return stringEnd(bytes, i);
  if (c === MINUS || ((c as number) >= ZERO && (c as number) <= 0x39)) return numberEnd(bytes, i);
  const word = LITERALS.get(c as number);
  if (word === undefined) throw fault(bytes, i, 'looking for beginning of value');
  for (let k = 1; k < word.length; k++) {
    if (bytes[i + k] !== word.charCodeAt(k)) {
      throw fault(bytes, i + k, `in literal ${word} (expecting '${word[k]}')`);
    }
  }
  return i + word.length;
}

/** `i` at a key's quote; returns the offset after the colon. */
function keyEnd(bytes: Uint8Array, i: number): number {
  if (bytes[i] !== QUOTE) throw fault(bytes, i, 'looking for beginning of object key string');
  i = skipSpace(bytes, stringEnd(bytes, i));
  if (bytes[i] !== COLON) throw fault(bytes, i, 'after object key');
  return skipSpace(bytes, i + 1);
}

/** The containers that are open while a value is walked. */
class Nesting {
  private readonly open: boolean[] = [];
  end = 0;

  /** Enters the container at `i`; returns where its first value starts, or -1 when it is empty. */
  enter(bytes: Uint8Array, i: number): number {
    const isObject = bytes[i] === OPEN_BRACE;
    i = skipSpace(bytes, i + 1);
    if (bytes[i] === (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) {
      this.end = i + 1;
      return -1;
    }
    if (this.open.push(isObject) > MAX_DEPTH) throw new JsonFault('exceeded max depth');
    return isObject ? keyEnd(bytes, i) : i;
  }

  /** A value ended at `i`; returns where the next one starts, or -1 when the outermost container has ended too. */
  next(bytes: Uint8Array, i: number): number {
    while (this.open.length > 0) {
      const isObject = this.open[this.open.length - 1] as boolean;
      i = skipSpace(bytes, i);
      if (bytes[i] === COMMA) {
        i = skipSpace(bytes, i + 1);
        return isObject ? keyEnd(bytes, i) : i;
      }
      if (bytes[i] !== (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) {
        throw fault(bytes, i, isObject ? 'after object key:value pair' : 'after array element');
      }
      this.open.pop();
      i++;
    }
    this.end = i;
    return -1;
  }
}

/** Offset after the JSON value that starts at `from` (white space before it is skipped). Throws JsonFault. */
export function valueEnd(bytes: Uint8Array, from: number): number {
  let i = skipSpace(bytes, from);
  if (i >= bytes.length) throw new JsonFault(from === 0 ? 'EOF' : 'unexpected EOF');
  if (bytes[i] !== OPEN_BRACE && bytes[i] !== OPEN_BRACKET) return scalarEnd(bytes, i);
  const nesting = new Nesting();
  for (;;) {
    const c = bytes[i];
    let next = -1;
    if (c === OPEN_BRACE || c === OPEN_BRACKET) {
      next = nesting.enter(bytes, i);
      if (next < 0) next = nesting.next(bytes, nesting.end);
    } else {
      next = nesting.next(bytes, scalarEnd(bytes, i));
    }
    if (next < 0) return nesting.end;
    i = next;
  }
}

/** A JSON object: its members in order, repeated keys included, and the offset after it. */
export interface ObjectAt {
  readonly members: readonly Member[];
  readonly end: number;
}

/** The JSON object at `from` (white space before it is skipped). Throws JsonFault when it is no valid JSON, or no object. */
export function objectAt(bytes: Uint8Array, from: number): ObjectAt {
  let i = skipSpace(bytes, from);
  if (bytes[i] !== OPEN_BRACE) {
    valueEnd(bytes, from);
    throw new JsonFault(`json: cannot unmarshal ${kindAt(bytes, i)} into Go value of type map[string]interface {}`);
  }
  const members: Member[] = [];
  i = skipSpace(bytes, i + 1);
  if (bytes[i] === CLOSE_BRACE) return { members, end: i + 1 };
  for (;;) {
    const from = keyEnd(bytes, i);
    const to = valueEnd(bytes, from);
    members.push({ key: stringAt(bytes, i), from, to });
    i = skipSpace(bytes, to);
    if (bytes[i] === CLOSE_BRACE) return { members, end: i + 1 };
    if (bytes[i] !== COMMA) throw fault(bytes, i, 'after object key:value pair');
    i = skipSpace(bytes, i + 1);
  }
}

/** The members of the object that `bytes` begins with. What follows the object is ignored. Throws like `objectAt`. */
export const membersOf = (bytes: Uint8Array): readonly Member[] => objectAt(bytes, 0).members;

/**
 * The elements of the JSON array that `bytes` begins with, objects read and of other values the offset; undefined when
 * it is another kind of value. Throws JsonFault.
 */
export function elementsOf(bytes: Uint8Array): (ObjectAt | number)[] | undefined {
  let i = skipSpace(bytes, 0);
  if (bytes[i] !== OPEN_BRACKET) {
    valueEnd(bytes, 0);
    return undefined;
  }
  const elements: (ObjectAt | number)[] = [];
  i = skipSpace(bytes, i + 1);
  if (bytes[i] === CLOSE_BRACKET) return elements;
  for (;;) {
    const element = bytes[i] === OPEN_BRACE ? objectAt(bytes, i) : i;
    elements.push(element);
    i = skipSpace(bytes, typeof element === 'number' ? valueEnd(bytes, i) : element.end);
    if (bytes[i] === CLOSE_BRACKET) return elements;
    if (bytes[i] !== COMMA) throw fault(bytes, i, 'after array element');
    i = skipSpace(bytes, i + 1);
  }
}

/** What Go calls the kind of the value at `i`. */
export function kindAt(bytes: Uint8Array, i: number): string {
  const c = bytes[i];
  if (c === OPEN_BRACE) return 'object';
  if (c === OPEN_BRACKET) return 'array';
  if (c === QUOTE) return 'string';
  if (c === 0x74 || c === 0x66) return 'bool';
  return c === 0x6e ? 'null' : 'number';
}

/** The string whose quote is at `i`, which is known to be valid JSON. */
export function stringAt(bytes: Uint8Array, i: number): string {
  let end = i + 1;
  for (; bytes[end] !== QUOTE; end++) {
    const c = bytes[end] as number;
    if (c === BACKSLASH || c > 0x7e) return JSON.parse(textOf(bytes, i, stringEnd(bytes, i))) as string;
  }
  return latin1Slice.call(bytes, i + 1, end);
}

/** Plain ASCII, which nearly every key is, in half the time of decoding UTF-8. */
const { latin1Slice } = Buffer.prototype as unknown as {
  latin1Slice(this: Uint8Array, from: number, to: number): string;
};

function textOf(bytes: Uint8Array, from: number, to: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString('utf8');
}
