/**
 * CloudEvents as the wire has them (contract section 4). An envelope is spliced around the payload's bytes: keys in
 * alphabetical order, JSON payloads as they came, so that no number is ever read and written again.
 */

import { randomUUID } from 'node:crypto';
import { isUtf8 } from 'node:buffer';
import { concat } from '../lib/bytes.ts';
import { JsonFault, membersOf, skipSpace, valueEnd, type Member } from '../lib/json-bytes.ts';
import { isProtobuf } from '../lib/protobuf-wire.ts';
import { SidecarError } from './errors.ts';
import { expirationIn, NO_OVERRIDES, overridesOf, ttlMs, type Metadata, type Overrides } from './metadata.ts';
import type { Trace } from './trace.ts';

export const DEFAULT_SOURCE = 'Dapr';
export const DEFAULT_TYPE = 'com.dapr.event.sent';
export const BULK_TYPE = 'com.dapr.event.sent.bulk';
export const CLOUD_EVENT_JSON = 'application/cloudevents+json';

/** What an envelope says beside the payload. */
export interface EnvelopeContext {
  readonly pubsubName: string;
  readonly topic: string;
  readonly appId: string;
  readonly trace: Trace;
  /** W3C baggage of the publisher; empty or absent where it sent none. */
  readonly baggage?: string;
  /** Whether the broker expires messages itself, so that the event must not carry `expiration`. */
  readonly brokerExpires: boolean;
}

/** Makes the events of one request. What their envelopes have in common is encoded once. */
export class Envelopes {
  private readonly context: EnvelopeContext;
  private readonly time = now();
  private common: Attributes | undefined;
  private commonType = '';

  constructor(context: EnvelopeContext) {
    this.context = context;
  }

  /** A payload as the event that goes to the broker. Throws `cloud-event-invalid` for a broken CloudEvent. */
  toEvent(data: Uint8Array, contentType: string, metadata: Metadata): Buffer {
    const ttl = this.context.brokerExpires ? undefined : ttlMs(metadata);
    const expiration = ttl === undefined ? undefined : expirationIn(ttl);
    const type = mediaType(contentType);
    if (type === CLOUD_EVENT_JSON) return complete(data, expiration, this.context);
    const overrides = overridesOf(metadata);
    const id = overrides.id ? JSON.stringify(overrides.id) : `"${randomUUID()}"`;
    const { before, after } =
      overrides === NO_OVERRIDES && expiration === undefined
        ? this.attributes(contentType)
        : attributes(contentType, expiration, overrides, this.context, this.time);
    return concat([...payload(data, type, this.context.baggage), before, id, after]);
  }

  private attributes(contentType: string): Attributes {
    if (this.common && this.commonType === contentType) return this.common;
    this.commonType = contentType;
    return (this.common = attributes(contentType, undefined, NO_OVERRIDES, this.context, this.time));
  }
}

/** The part of a content type before its parameters, lower case. */
export function mediaType(contentType: string): string {
  const semicolon = contentType.indexOf(';');
  return (semicolon < 0 ? contentType : contentType.slice(0, semicolon)).toLowerCase();
}

/** How an envelope begins: with the payload, JSON as it came. */
function payload(data: Uint8Array, type: string, baggage: string | undefined): readonly (string | Uint8Array)[] {
  const start = baggage ? `{"baggage":${JSON.stringify(baggage)},` : '{';
  const json = type === 'application/json' ? firstJson(data) : undefined;
  if (json) return [`${start}"data":`, json];
  return BINARY_TYPES.has(type) || (type === 'application/x-protobuf' && isProtobuf(data))
    ? [`${start}"data_base64":"${asBuffer(data).toString('base64')}"`]
    : [`${start}"data":${JSON.stringify(asBuffer(data).toString('utf8'))}`];
}

/** What comes after the payload in alphabetical order, before and after the id. */
interface Attributes {
  readonly before: Buffer;
  readonly after: Buffer;
}

function attributes(
  contentType: string,
  expiration: string | undefined,
  overrides: Overrides,
  context: EnvelopeContext,
  time: string,
): Attributes {
  const traceparent = JSON.stringify((overrides.traceparent || overrides.traceid) ?? context.trace.traceparent);
  const source = overrides.source === undefined ? context.appId : overrides.source || DEFAULT_SOURCE;
  const before =
    `,"datacontenttype":${JSON.stringify(contentType || 'text/plain')}` +
    (expiration === undefined ? '' : `,"expiration":"${expiration}"`) +
    ',"id":';
  const after =
    `,"pubsubname":${JSON.stringify(context.pubsubName)},"source":${JSON.stringify(source)},"specversion":"1.0"` +
    (overrides.subject ? `,"subject":${JSON.stringify(overrides.subject)}` : '') +
    `,"time":"${time}","topic":${JSON.stringify(context.topic)},"traceid":${traceparent},"traceparent":${traceparent}` +
    `,"tracestate":${JSON.stringify(overrides.tracestate ?? context.trace.tracestate)}` +
    `,"type":${JSON.stringify(overrides.type || DEFAULT_TYPE)}}`;
  return { before: Buffer.from(before), after: Buffer.from(after) };
}

const BINARY_TYPES = new Set(['application/octet-stream', 'application/cloudevents+protobuf']);

/** The first JSON value of `data`, or undefined when it does not begin with one. Invalid UTF-8 becomes U+FFFD, as in Go. */
function firstJson(data: Uint8Array): Uint8Array | undefined {
  const bytes = isUtf8(data) ? data : Buffer.from(asBuffer(data).toString('utf8'));
  try {
    return bytes.subarray(skipSpace(bytes, 0), valueEnd(bytes, 0));
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
}

/** A CloudEvent the publisher wrote: kept as it is but for what the runtime owns and what is missing (contract 4.3). */
function complete(data: Uint8Array, expiration: string | undefined, context: EnvelopeContext): Buffer {
  const bytes = isUtf8(data) ? data : Buffer.from(asBuffer(data).toString('utf8'));
  let members: readonly Member[];
  try {
    members = membersOf(bytes);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    throw new SidecarError('cloud-event-invalid', 'cannot create cloudevent', {
      resource: context.pubsubName,
      info: { appID: context.appId, error: error.message },
    });
  }
  const text = asBuffer(bytes);
  const values = new Map(members.map(({ key, from, to }) => [key, text.toString('utf8', from, to)]));
  const fill = (key: string, value: string): void => {
    const present = values.get(key);
    if (present === undefined || present === 'null') values.set(key, JSON.stringify(value));
  };
  values.set('topic', JSON.stringify(context.topic)).set('pubsubname', JSON.stringify(context.pubsubName));
  if (!values.has('time')) values.set('time', `"${now()}"`);
  if (!values.has('traceid')) {
    const traceparent = JSON.stringify(context.trace.traceparent);
    values.set('traceid', traceparent).set('traceparent', traceparent);
  }
  if (!values.has('tracestate')) values.set('tracestate', JSON.stringify(context.trace.tracestate));
  if (context.baggage) fill('baggage', context.baggage);
  fill('source', DEFAULT_SOURCE);
  fill('type', DEFAULT_TYPE);
  fill('specversion', '1.0');
  if (expiration !== undefined) values.set('expiration', `"${expiration}"`);
  return assemble(values);
}

/** A CloudEvent of already encoded values, keys in alphabetical order. */
export function assemble(values: ReadonlyMap<string, string>): Buffer {
  const keys = [...values.keys()].sort();
  return Buffer.from(`{${keys.map((key) => `${JSON.stringify(key)}:${values.get(key)}`).join(',')}}`);
}

/** The event around bytes that are none: what a `rawPayload` subscriber gets (contract 4.7 A). No time, a new id each time. */
export function wrapRaw(data: Uint8Array, pubsubName: string, topic: string, trace: Partial<Trace>): Buffer {
  const { traceparent, tracestate } = trace;
  return Buffer.from(
    `{"data_base64":"${asBuffer(data).toString('base64')}","datacontenttype":"application/octet-stream"` +
      `,"id":"${randomUUID()}","pubsubname":${JSON.stringify(pubsubName)},"source":"${DEFAULT_SOURCE}"` +
      `,"specversion":"1.0","topic":${JSON.stringify(topic)}` +
      (traceparent === undefined
        ? ''
        : `,"traceid":${JSON.stringify(traceparent)},"traceparent":${JSON.stringify(traceparent)}`) +
      (tracestate === undefined ? '' : `,"tracestate":${JSON.stringify(tracestate)}`) +
      `,"type":"${DEFAULT_TYPE}"}`,
  );
}

/** The same memory as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

let cachedSecond = -1;
let cachedText = '';

/** Now in local time, RFC 3339 with seconds, as Go prints it: `Z` where the zone is UTC. */
function now(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== cachedSecond) {
    const date = new Date(second * 1000);
    const offset = -date.getTimezoneOffset();
    const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 19);
    const two = (n: number): string => String(Math.trunc(n)).padStart(2, '0');
    const zone = `${offset < 0 ? '-' : '+'}${two(Math.abs(offset) / 60)}:${two(Math.abs(offset) % 60)}`;
    cachedText = local + (offset === 0 ? 'Z' : zone);
    cachedSecond = second;
  }
  return cachedText;
}
