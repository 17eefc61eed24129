/** A CloudEvent as the messages that gRPC recipients get (contract 2.2 and 2.4). */

import type { TopicEventCERequest, TopicEventRequest } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { asBuffer, mediaType } from '../core/cloud-event.ts';
import { fillTrace } from '../core/trace.ts';
import { stringAt, type Member } from '../lib/json-bytes.ts';
import type { TopicEvent } from '../core/recipient.ts';

const OWN = new Set(['id', 'source', 'datacontenttype', 'type', 'specversion', 'data', 'data_base64']);
const EMPTY = Buffer.alloc(0);
const QUOTE = 0x22;

/**
 * What to do where Dapr hands over no data at all: a content type that is neither text nor JSON with a `data` member.
 * `bytes` gives what the publisher sent; `none` is what Dapr does.
 */
export type UnknownData = 'bytes' | 'none';

/** The message of a single delivery. */
export function topicEventOf(event: TopicEvent, path: string, unknown: UnknownData): TopicEventRequest {
  return { ...eventOf(event, unknown), topic: event.topic, pubsubName: event.pubsubName, path };
}

/** The same as an entry of a batch. */
export function eventOf(event: TopicEvent, unknown: UnknownData): TopicEventCERequest {
  const body = asBuffer(event.body);
  const members = new Map(event.members.map((member) => [member.key, member]));
  const text = (key: string): string => {
    const value = valueOf(body, members.get(key));
    return typeof value === 'string' ? value : '';
  };
  const extensions: Record<string, unknown> = {};
  for (const [key, member] of members) if (!OWN.has(key)) extensions[key] = extensionOf(body, member);
  fillTrace(extensions, event.metadata);
  return {
    id: text('id'),
    source: text('source'),
    type: text('type'),
    specVersion: text('specversion'),
    dataContentType: text('datacontenttype'),
    data: dataOf(body, members, text('datacontenttype'), unknown),
    extensions,
  };
}

function valueOf(body: Buffer, member: Member | undefined): unknown {
  if (member && body[member.from] === QUOTE) return stringAt(body, member.from);
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

function dataOf(body: Buffer, members: ReadonlyMap<string, Member>, contentType: string, unknown: UnknownData): Buffer {
  const base64 = valueOf(body, members.get('data_base64'));
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64');
  const data = members.get('data');
  if (!data || (body[data.from] as number) === 0x6e) return EMPTY; // null
  const type = mediaType(contentType);
  const json = body.subarray(data.from, data.to);
  if (type === 'application/json' || type === 'application/cloudevents+json') return json;
  const isText = type.startsWith('text/') || type === 'application/xml';
  if (!isText && unknown === 'none') return EMPTY;
  return body[data.from] === QUOTE ? Buffer.from(stringAt(body, data.from)) : json;
}
