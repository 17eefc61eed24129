/** From the flags of `publish` to the events it sends. */

import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { fstatSync, readFileSync } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import { find, type Metadata, ttlMs } from '../core/metadata.ts';
import { Exit, Failure, usage } from './failure.ts';
import type { Options } from './options.ts';

/** One event on its way out. */
export interface OutgoingEvent {
  readonly data: Uint8Array;
  readonly contentType: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Of the CloudEvent it becomes; empty when only the receiver could tell. */
  readonly id: string;
}

const OVERRIDES = ['id', 'type', 'source', 'subject'] as const;

/** The events of one call, in order. Rejects with a usage failure for data that cannot be meant. */
export async function readEvents(options: Options, operands: readonly string[]): Promise<OutgoingEvent[]> {
  if (operands.length > 0) throw brokenQuoting(`"${operands[0]}" is left over: the shell has split the data`);
  const metadata = readMetadata(options);
  const texts = repeated(pieces(await readData(options), options), options.number('repeat'));
  return texts.map((data) => toEvent(data, options, metadata));
}

function toEvent(data: Uint8Array, options: Options, common: Readonly<Record<string, string>>): OutgoingEvent {
  const contentType = givenContentType(options) ?? contentTypeOf(data);
  const raw = options.on('raw') ?? false;
  const isEvent = /^application\/cloudevents\+json\b/i.test(contentType);
  const given = OVERRIDES.filter((name) => options.text(name) !== undefined);
  if (given[0] && (raw || isEvent)) {
    throw usage(`--${given[0]} has no effect on ${raw ? 'raw data' : 'data that is a CloudEvent already'}`);
  }
  const overrides = Object.fromEntries(given.map((name) => [`cloudevent.${name}`, options.text(name) as string]));
  if (raw) return { data, contentType, metadata: { ...common, rawPayload: 'true' }, id: '' };
  if (isEvent) return { data, contentType, metadata: common, id: ownId(data) };
  const id = overrides['cloudevent.id'] ?? common['cloudevent.id'] ?? randomUUID();
  return { data, contentType, metadata: { ...common, ...overrides, 'cloudevent.id': id }, id };
}

function givenContentType(options: Options): string | undefined {
  const given = options.text('content-type');
  if (given === undefined || !/[^\x20-\x7e]/.test(given)) return given;
  throw usage(`--content-type wants a media type in visible ASCII characters, not ${JSON.stringify(given)}`);
}

function ownId(data: Uint8Array): string {
  try {
    return String((JSON.parse(Buffer.from(data).toString()) as { id?: unknown }).id ?? '');
  } catch {
    return '';
  }
}

/** The bytes that --data or --data-file names. */
async function readData(options: Options): Promise<Buffer> {
  const file = options.text('data-file');
  const text = options.text('data');
  if ((file === undefined) === (text === undefined)) {
    throw usage(
      file === undefined ? 'what is to be published?' : '--data and --data-file exclude each other',
      '--data <text>, --data @file, --data - or --data-file <file>',
    );
  }
  if (file !== undefined) return readPath(file);
  const inline = text as string;
  if (inline === '-') return readPath(inline);
  if (inline.startsWith('@')) return readPath(inline.slice(1));
  if (/^'[{["]/.test(inline)) throw brokenQuoting(`the data begins with a quote: ${inline}`);
  return Buffer.from(inline);
}

/**
 * Of standard input for `-`, as a stream: another process may have set it not to block. A directory would be an empty
 * stream.
 */
async function readPath(path: string): Promise<Buffer> {
  const isInput = path === '-';
  try {
    if (isInput && !fstatSync(0).isDirectory()) return await buffer(process.stdin);
    return readFileSync(isInput ? 0 : path);
  } catch (error) {
    const name = isInput ? 'standard input' : path;
    throw new Failure(`cannot read ${name}`, { exit: Exit.notFound, code: 'NO_FILE', why: (error as Error).message });
  }
}

/** The data as one event, one a line, or one an element. */
function pieces(data: Buffer, options: Options): Buffer[] {
  if (options.on('lines')) {
    const lines = data.toString().split(/\r?\n/);
    return lines.filter((line) => line.trim() !== '').map((line) => Buffer.from(line));
  }
  if (!options.on('json-array')) return [data];
  const elements = parseKeepingNumbers(data.toString());
  if (!Array.isArray(elements)) throw usage('--json-array wants a JSON array');
  return elements.map((element) => Buffer.from(JSON.stringify(element)));
}

/** JSON in which numbers keep their text: they may be longer than a double. */
function parseKeepingNumbers(text: string): unknown {
  const { rawJSON } = JSON as unknown as { rawJSON(source: string): unknown };
  const keep = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' && context?.source !== undefined ? rawJSON(context.source) : value;
  try {
    return JSON.parse(text, keep);
  } catch (error) {
    throw usage(`the data is not JSON: ${(error as Error).message}`);
  }
}

function repeated(texts: readonly Buffer[], times: number | undefined): Buffer[] {
  if (times === undefined) return [...texts];
  const counted = (text: Buffer, n: number): Buffer =>
    Buffer.from(text.toString('latin1').replaceAll('{{n}}', String(n)), 'latin1');
  return Array.from({ length: times }, (_, index) => texts.map((text) => counted(text, index + 1))).flat();
}

const CLOUD_EVENT_KEYS = ['id', 'source', 'specversion', 'type', 'data'];

/** What the data is by the look of it. Throws for what was JSON before a shell took its quotes. */
export function contentTypeOf(data: Uint8Array): string {
  if (!isUtf8(data)) return 'application/octet-stream';
  const text = Buffer.from(data).toString();
  try {
    const value = JSON.parse(text) as unknown;
    const isEvent = typeof value === 'object' && value !== null && CLOUD_EVENT_KEYS.every((key) => key in value);
    return isEvent ? 'application/cloudevents+json' : 'application/json';
  } catch {
    if (/^\s*(\{.*\}|\[.*\])\s*$/s.test(text))
      throw brokenQuoting(`the data looks like JSON and is not: ${text.trim().slice(0, 80)}`);
    return 'text/plain';
  }
}

function brokenQuoting(message: string): Failure {
  return new Failure(message, {
    exit: Exit.usage,
    code: 'USAGE',
    why: 'shells differ in quoting: cmd.exe knows no single quotes, and Windows PowerShell 5 takes double ones away',
    next: [
      '--data "{\\"status\\": \\"completed\\"}"',
      '--data @file, or --data - to read standard input',
      'if it is meant as it is: --content-type text/plain',
    ],
  });
}

/** Metadata as one JSON object or as k=v; --ttl is metadata too. */
function readMetadata(options: Options): Record<string, string> {
  const metadata: Record<string, string> = {};
  for (const one of options.list('metadata'))
    Object.assign(metadata, one.trimStart().startsWith('{') ? jsonMetadata(one) : pair(one));
  const ttl = options.duration('ttl');
  if (ttl !== undefined) metadata['ttlInSeconds'] = String(Math.ceil(ttl / 1000));
  refuseTtl(metadata);
  return metadata;
}

/** The API takes any: one that it cannot read does not count, and with one that is over at once nobody gets the event. */
function refuseTtl(metadata: Metadata): void {
  const given = find(metadata, 'ttl') ?? find(metadata, 'ttlInSeconds');
  if (given !== undefined && !ttlMs(metadata))
    throw usage(`a time to live is whole seconds from 1 up or a duration such as 1m30s, not "${given}"`);
}

function pair(text: string): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw usage(`--metadata wants k=v or a JSON object, not "${text}"`);
  return { [text.slice(0, at)]: text.slice(at + 1) };
}

function jsonMetadata(text: string): Record<string, string> {
  try {
    const values = Object.entries(JSON.parse(text) as Record<string, unknown>);
    return Object.fromEntries(
      values.map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]),
    );
  } catch {
    throw usage(`--metadata is not a JSON object: ${text}`, `-m k=v needs no quotes`);
  }
}
