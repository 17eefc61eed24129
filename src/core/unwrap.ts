/** A broker's message as the event that a recipient gets (contract 4.7). */

import { randomUUID } from 'node:crypto';
import { JsonFault, membersOf, objectAt, skipSpace, stringAt, type Member } from '../lib/json-bytes.ts';
import { baggageFault } from './baggage.ts';
import type { InboundMessage } from './broker.ts';
import { asBuffer, assemble, DEFAULT_SOURCE, DEFAULT_TYPE, wrapRaw } from './cloud-event.ts';
import { find, type Metadata } from './metadata.ts';
import { fillTrace, isTraceparent, ZERO_TRACEPARENT } from './trace.ts';

export interface Event {
  /** The CloudEvent as JSON. */
  readonly body: Buffer;
  readonly members: readonly Member[];
  /** Its id, for people; empty where it has none. */
  readonly id: string;
  /** When it expires, undefined when never, unreadable, or it is a dead letter: that is kept until somebody read it. Milliseconds since 1970. */
  readonly expiresAt: number | undefined;
  /** The context of the delivery; empty where the event knows no trace at all. */
  readonly traceparent: string;
  readonly tracestate: string;
  /** Empty where the event has none, or something that is none. */
  readonly baggage: string;
  /** Whether the message's bytes are the event itself and not something we wrapped. */
  readonly isMessage: boolean;
}

/**
 * The event of a message. On a raw subscription, and where the bytes are not one JSON object (another producer wrote
 * them, or a raw publish did), a fresh event is wrapped around them: an undeliverable message would be a lost one.
 */
export function unwrap(message: InboundMessage, pubsubName: string, topic: string, raw: boolean): Event {
  if (raw) return wrapped(message, pubsubName, topic);
  if (find(message.metadata, 'content-type') === 'application/octet-stream') return binary(message, pubsubName, topic);
  const bytes = asBuffer(message.data);
  try {
    const { members, end } = objectAt(bytes, 0);
    if (skipSpace(bytes, end) === bytes.length) return eventOf(bytes, members, message.metadata, true);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
  }
  return wrapped(message, pubsubName, topic);
}

/** The event as rules see it. */
export function parsedEvent({ body }: Event, metadata: Metadata): unknown {
  const parsed = JSON.parse(body.toString('utf8')) as Record<string, unknown>;
  fillTrace(parsed, metadata);
  return parsed;
}

function wrapped(message: InboundMessage, pubsubName: string, topic: string): Event {
  const { traceid, traceparent = traceid, tracestate } = message.metadata;
  const trace = { ...(traceparent !== undefined && { traceparent }), ...(tracestate !== undefined && { tracestate }) };
  const body = wrapRaw(message.data, pubsubName, topic, trace);
  return eventOf(body, membersOf(body), message.metadata, false);
}

/** CloudEvents' binary mode: attributes in `ce_*` metadata, the bytes as data. What no event goes without is filled in. */
function binary(message: InboundMessage, pubsubName: string, topic: string): Event {
  const values = new Map<string, string>([
    ['pubsubname', JSON.stringify(pubsubName)],
    ['topic', JSON.stringify(topic)],
    ['datacontenttype', '"application/octet-stream"'],
    ['data_base64', `"${asBuffer(message.data).toString('base64')}"`],
    ['id', `"${randomUUID()}"`],
    ['source', `"${DEFAULT_SOURCE}"`],
    ['specversion', '"1.0"'],
    ['type', `"${DEFAULT_TYPE}"`],
  ]);
  for (const [key, value] of Object.entries(message.metadata)) {
    if (/^ce_./i.test(key)) values.set(key.slice(3).toLowerCase(), JSON.stringify(value));
  }
  const body = assemble(values);
  return eventOf(body, membersOf(body), message.metadata, false);
}

/** `Date.parse` alone takes a bare number for a year, and whoever wrote one did not mean that the event is over. */
const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;
const QUOTE = 0x22;
const READ = new Set(['id', 'expiration', 'traceid', 'traceparent', 'tracestate', 'baggage', 'dlreason']);

function eventOf(body: Buffer, members: readonly Member[], metadata: Metadata, isMessage: boolean): Event {
  const places: Record<string, number> = {};
  for (const { key, from } of members) if (READ.has(key) && body[from] === QUOTE) places[key] = from;
  const text = (key: string): string | undefined => {
    const from = places[key];
    return from === undefined ? undefined : stringAt(body, from);
  };
  const expiration = places['dlreason'] === undefined ? (text('expiration') ?? '') : '';
  const expiresAt = RFC_3339.test(expiration) ? Date.parse(expiration) : NaN;
  return {
    body,
    members,
    id: text('id') ?? '',
    expiresAt: Number.isNaN(expiresAt) ? undefined : expiresAt,
    traceparent: parentOf(text('traceparent') ?? text('traceid'), metadata['traceparent']),
    tracestate: text('tracestate') || metadata['tracestate'] || '',
    baggage: baggageOf(text('baggage')),
    isMessage,
  };
}

const baggageOf = (text = ''): string => (baggageFault(text) === undefined ? text : '');

/** The event's own trace, all zero when it names none; without the attribute, what the broker's metadata says. */
function parentOf(own: string | undefined, fromBroker: string | undefined): string {
  if (own === undefined) return fromBroker ?? '';
  return isTraceparent(own) ? own : ZERO_TRACEPARENT;
}
