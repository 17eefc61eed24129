/**
 * A CloudEvent as the messages that gRPC recipients get (contract 2.2 and 2.4): TopicEventRequest, the response
 * of a stream, and TopicEventBulkRequest, written from the bytes of the event's JSON. Texts are copied, not read and printed
 * again: to make objects of them for the generated encoders cost a third of a delivery on a stream.
 */

import { isUtf8 } from 'node:buffer';
import type { BinaryWriter } from '@bufbuild/protobuf/wire';
import { TopicEventBulkRequest, TopicEventBulkRequestEntry } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { Value } from '../../gen/google/protobuf/struct.ts';
import { asBuffer, mediaType } from '../core/cloud-event.ts';
import type { TopicEvent } from '../core/recipient.ts';
import { fillTrace } from '../core/trace.ts';
import { stringAt, type Member } from '../lib/json-bytes.ts';

/**
 * What to do where Dapr hands over no data at all: a content type that is neither text nor JSON with a `data` member.
 * `bytes` gives what the publisher sent; `none` is what Dapr does.
 */
export type UnknownData = 'bytes' | 'none';

const textField = (number: number): number => (number << 3) | 2;
/** Fields that both messages have, by the attribute they hold. */
const ATTRIBUTES = new Map(
  ['id', 'source', 'type', 'specversion', 'datacontenttype'].map((name, index) => [name, textField(index + 1)]),
);
const DATA = new Set(['data', 'data_base64']);
const [TOPIC, PUBSUB_NAME, PATH] = [6, 8, 9].map(textField) as [number, number, number];
const SINGLE = { data: textField(7), extensions: textField(10) };
const IN_BATCH = { data: textField(6), extensions: textField(7) };
const EVENT_MESSAGE = textField(2);
const [ENTRIES, CLOUD_EVENT] = [2, 3].map(textField) as [number, number];
/** Of google.protobuf.Struct, its entries, and google.protobuf.Value. */
const [FIELDS, KEY, VALUE, STRING_VALUE] = [1, 1, 2, 3].map(textField) as [number, number, number, number];
const TRACE = ['traceparent', 'traceid', 'tracestate'];
const EMPTY = Buffer.alloc(0);
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export interface Addressed {
  readonly event: TopicEvent;
  /** Of the route that was taken. */
  readonly path: string;
  readonly unknown: UnknownData;
}

/** TopicEventRequest: a single delivery. */
export const topicEvent = {
  encode: ({ event, path, unknown }: Addressed, writer: BinaryWriter): BinaryWriter => {
    for (const [field, text] of [
      [TOPIC, event.topic],
      [PUBSUB_NAME, event.pubsubName],
      [PATH, path],
    ] as const) {
      if (text !== '') writer.uint32(field).string(text);
    }
    return writeEvent(event, unknown, SINGLE, writer);
  },
};

/** SubscribeTopicEventsResponseAlpha1 with an event in it. */
export const streamedEvent = {
  encode: (addressed: Addressed, writer: BinaryWriter): BinaryWriter =>
    topicEvent.encode(addressed, writer.uint32(EVENT_MESSAGE).fork()).join(),
};

export interface Batch {
  /** All of the request but its entries. */
  readonly request: Omit<TopicEventBulkRequest, 'entries'>;
  readonly entries: readonly { readonly entryId: string; readonly event: TopicEvent }[];
  readonly unknown: UnknownData;
}

/** TopicEventBulkRequest: a delivery of many. */
export const eventBatch = {
  encode: ({ request, entries, unknown }: Batch, writer: BinaryWriter): BinaryWriter => {
    TopicEventBulkRequest.encode({ ...request, entries: [] }, writer);
    for (const { entryId, event } of entries) {
      const { metadata, raw } = event;
      const contentType = contentTypeOf(event);
      const bytes = raw && { $case: 'bytes' as const, value: asBuffer(raw) };
      TopicEventBulkRequestEntry.encode(
        { entryId, metadata, contentType, event: bytes },
        writer.uint32(ENTRIES).fork(),
      );
      if (!raw) writeEvent(event, unknown, IN_BATCH, writer.uint32(CLOUD_EVENT).fork()).join();
      writer.join();
    }
    return writer;
  },
};

/** What an entry of a batch says it is. Raw bytes are bytes, whatever their broker called them: of another type Dapr's JavaScript SDK hands its app nothing. */
export const contentTypeOf = ({ raw }: TopicEvent): string =>
  raw ? 'application/octet-stream' : 'application/cloudevents+json';

/** The event's id as its message has it; empty where it has none. */
export function idOf({ body, members }: TopicEvent): string {
  const id = members.findLast(({ key }) => key === 'id');
  return id && isString(asBuffer(body), id) ? stringAt(body, id.from).toWellFormed() : '';
}

function writeEvent(
  { body: bytes, members, metadata }: TopicEvent,
  unknown: UnknownData,
  fields: typeof SINGLE,
  writer: BinaryWriter,
): BinaryWriter {
  const body = asBuffer(bytes);
  const isText = isUtf8(body);
  const known = new Map<string, Member>(); // of a name that comes again the last counts
  for (const member of members) if (!isExtension(member)) known.set(member.key, member);
  for (const [key, field] of ATTRIBUTES) {
    const member = known.get(key);
    if (member && isString(body, member)) writer.uint32(field).bytes(textOf(body, member, isText));
  }
  const content = dataOf(body, known, unknown);
  if (content.length > 0) writer.uint32(fields.data).bytes(content);
  writer.uint32(fields.extensions).fork();
  for (const member of members) {
    if (isExtension(member)) writeExtension(body, member, isText, writer);
  }
  for (const [key, value] of missingTrace(members, metadata)) {
    writer.uint32(FIELDS).fork().uint32(KEY).string(key).uint32(VALUE).fork();
    writer.uint32(STRING_VALUE).string(value).join().join();
  }
  return writer.join();
}

function writeExtension(body: Buffer, member: Member, isText: boolean, writer: BinaryWriter): void {
  writer.uint32(FIELDS).fork().uint32(KEY).string(member.key).uint32(VALUE).fork();
  if (isString(body, member)) writer.uint32(STRING_VALUE).bytes(textOf(body, member, isText));
  else Value.encode(Value.wrap(extensionOf(body, member)), writer);
  writer.join().join();
}

/** What the message's metadata says of the trace where the event does not. */
function missingTrace(members: readonly Member[], metadata: TopicEvent['metadata']): [string, string][] {
  if (!TRACE.some((key) => metadata[key] !== undefined)) return [];
  const known: Record<string, unknown> = {};
  for (const { key } of members) if (TRACE.includes(key)) known[key] = undefined;
  fillTrace(known, metadata);
  return Object.entries(known).filter((entry): entry is [string, string] => entry[1] !== undefined);
}

const isExtension = ({ key }: Member): boolean => !ATTRIBUTES.has(key) && !DATA.has(key);

const isString = (body: Buffer, { from }: Member): boolean => body[from] === QUOTE;

/** The bytes of a text; `isText` where the whole body is UTF-8, which readers of protobuf insist on. */
function textOf(body: Buffer, { from, to }: Member, isText: boolean): Uint8Array {
  const bytes = body.subarray(from + 1, to - 1);
  return isText && !bytes.includes(BACKSLASH) ? bytes : Buffer.from(stringAt(body, from));
}

function valueOf(body: Buffer, member: Member | undefined): unknown {
  if (member && isString(body, member)) return stringAt(body, member.from);
  return member && (JSON.parse(body.toString('utf8', member.from, member.to)) as unknown);
}

/** Protobuf readers give up at a hundred messages in one another, of which a level of JSON takes up to three. */
const MAX_LEVELS = 32;

/** What nests deeper than readers follow is handed over as its JSON text. */
function extensionOf(body: Buffer, member: Member): unknown {
  const value = valueOf(body, member);
  return nests(value, MAX_LEVELS) ? body.toString('utf8', member.from, member.to) : value;
}

function nests(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((one) => nests(one, levels - 1));
}

function dataOf(body: Buffer, members: ReadonlyMap<string, Member>, unknown: UnknownData): Buffer {
  const base64 = valueOf(body, members.get('data_base64'));
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64');
  const data = members.get('data');
  if (!data || (body[data.from] as number) === 0x6e) return EMPTY; // null
  const contentType = valueOf(body, members.get('datacontenttype'));
  const type = mediaType(typeof contentType === 'string' ? contentType : '');
  const json = body.subarray(data.from, data.to);
  if (type === 'application/json' || type === 'application/cloudevents+json') return json;
  const isText = type.startsWith('text/') || type === 'application/xml';
  if (!isText && unknown === 'none') return EMPTY;
  return body[data.from] === QUOTE ? Buffer.from(stringAt(body, data.from)) : json;
}
