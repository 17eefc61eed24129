/** Metadata as the headers of a record and back. */

import { Reader, varintSize, writeVarint } from './bytes.ts';

/** No header at all. */
const NO_HEADERS = Buffer.from([0]);

/** What a delivery adds about its record; a message that is published on does not take it along. */
const OF_DELIVERY = new Set(['__offset', '__topic', '__timestamp', '__partition']);

/** The headers of a record as they are in it: their number, then names and values. */
export function encodeHeaders(metadata: Readonly<Record<string, string>>, excluded: RegExp | undefined): Buffer {
  let count = 0;
  let size = 0;
  const taken: [name: string, nameSize: number, value: string, valueSize: number][] = [];
  for (const name of Object.keys(metadata)) {
    if (OF_DELIVERY.has(name) || excluded?.test(name)) continue;
    const value = metadata[name] as string;
    const [nameSize, valueSize] = [Buffer.byteLength(name), Buffer.byteLength(value)];
    taken.push([name, nameSize, value, valueSize]);
    size += varintSize(nameSize) + nameSize + varintSize(valueSize) + valueSize;
    count++;
  }
  if (count === 0) return NO_HEADERS;
  const bytes = Buffer.allocUnsafe(varintSize(count) + size);
  let at = writeVarint(bytes, count, 0);
  for (const [name, nameSize, value, valueSize] of taken) {
    at = writeVarint(bytes, nameSize, at);
    at += bytes.write(name, at, 'utf8');
    at = writeVarint(bytes, valueSize, at);
    at += bytes.write(value, at, 'utf8');
  }
  return bytes;
}

export interface HeaderOptions {
  readonly excluded: RegExp | undefined;
  readonly escape: boolean;
}

/** Adds the headers to `metadata`, of two with one name the last. */
export function decodeHeaders(
  bytes: Buffer,
  { excluded, escape }: HeaderOptions,
  metadata: Record<string, string>,
): void {
  const reader = new Reader(bytes);
  for (let left = reader.varint(); left > 0; left--) {
    const name = reader.slice(reader.varint()).toString('utf8');
    const size = reader.varint();
    const value = size > 0 ? reader.slice(size).toString('utf8') : '';
    if (excluded?.test(name)) continue;
    define(metadata, name, escape ? escapeText(value) : value);
  }
}

/** As Go's url.QueryEscape. */
export const escapeText = (text: string): string =>
  encodeURIComponent(text)
    .replaceAll('%20', '+')
    .replaceAll(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);

/** A property of that name, `__proto__` too. */
function define(target: Record<string, string>, name: string, value: string): void {
  if (name === '__proto__') {
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  } else {
    target[name] = value;
  }
}
