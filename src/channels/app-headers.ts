/** A message's metadata as headers of the request to the app (contract 6.1). */

import type { Invocation } from '../core/invocation.ts';
import type { TopicEvent } from '../core/recipient.ts';
import { binaryOf } from '../core/trace.ts';

/** Ours to set, or nobody's: body description, hop by hop, and what would speak for the sidecar. */
const KEPT_BACK = new Set([
  'content-type',
  'content-length',
  'destination-app-id',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'expect',
  'http2-settings',
  'dapr-api-token',
  'pubsubname',
  'traceparent',
  'tracestate',
]);
/** What would speak of the event's body, which is never compressed, or ask for an answer that is. */
const CODINGS = new Set(['accept-encoding', 'content-encoding']);
/**
 * Room for all of a message's metadata together. Servers refuse requests with more headers than they like, the least of
 * them 8 KiB (Tomcat, gRPC in C): the event would come again for ever.
 */
const MAX_METADATA_BYTES = 7 * 1024;
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

const GRPC_NAME = /^[0-9a-z_.-]+$/;
const PRINTABLE = /^[ -~]*$/;

const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** The app's token: the name of its header and its value. Without a value none is sent, and by nobody else. */
export interface AppToken {
  readonly header: string;
  readonly value: string;
}

/** The headers, with the token at their end. What others sent under its name would speak for the sidecar. */
export function withToken(headers: string[], { header, value }: AppToken): string[] {
  const all = headers.includes(header) ? headers.filter((_, i) => headers[i - (i % 2)] !== header) : headers;
  if (value !== '') all.push(header, value);
  return all;
}

/** Adds what goes with an event. What cannot be a header, or has no room, is left out: it must not cost the delivery. */
export function headersOf(event: TopicEvent, ...headers: string[]): string[] {
  headers.push(...pubsubHeader(event));
  let room = MAX_METADATA_BYTES;
  const add = (header: readonly string[]): void => {
    const [name, value] = header;
    if (name === undefined || value === undefined || name.length + value.length > room) return;
    room -= name.length + value.length;
    headers.push(name, value);
  };
  if (event.traceparent !== '') add(headerOf('traceparent', event.traceparent));
  if (event.tracestate !== '') add(headerOf('tracestate', event.tracestate));
  if (event.baggage !== '') add(headerOf('baggage', event.baggage));
  for (const key in event.metadata) {
    const name = headerName(key.toLowerCase());
    const isOurs = CODINGS.has(name ?? '') || (name === 'baggage' && event.baggage !== '');
    if (name !== undefined && !isOurs) add(headerOf(name, event.metadata[key] as string));
  }
  return headers;
}

/** The one header that a batch has of its own. */
export const pubsubHeader = ({ pubsubName }: TopicEvent): string[] => headerOf('pubsubname', pubsubName);

/** Name and value as they go on the wire: UTF-8, one character a byte. Empty where the value cannot be a header's. */
export function headerOf(name: string, given: string): string[] {
  const value = given.trim();
  if (PRINTABLE.test(value)) return [name, value];
  return CONTROL.test(value) ? [] : [name, Buffer.from(value).toString('latin1')];
}

/** The same for gRPC, which has the trace in binary form as well. */
export function callMetadataOf(event: TopicEvent): string[] {
  const headers = grpcOnly(headersOf(event));
  const binary = binaryOf(event.traceparent);
  if (binary) headers.push('grpc-trace-bin', binary.toString('base64'));
  return headers;
}

/** gRPC allows less than HTTP, and implementations of it fail a call over the rest. */
function grpcOnly(headers: readonly string[]): string[] {
  const allowed: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const [name, value] = [headers[i] as string, headers[i + 1] as string];
    if (GRPC_NAME.test(name) && PRINTABLE.test(value)) allowed.push(name, value);
  }
  return allowed;
}

/** Headers of a call that is passed on, between caller and app and back: without those that mean one connection only. */
export function passedOn(headers: readonly string[]): string[] {
  const passed: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headerName((headers[i] as string).toLowerCase());
    if (name !== undefined && name !== 'dapr-app-id') passed.push(name, headers[i + 1] as string);
  }
  return passed;
}

/** The call's headers for the app: the caller's, and the trace it goes on in. */
export function invocationHeaders({ headers, trace }: Invocation): string[] {
  const { traceparent, tracestate } = trace;
  return [
    ...passedOn(headers),
    ...(traceparent === '' ? [] : headerOf('traceparent', traceparent)),
    ...(tracestate === '' ? [] : headerOf('tracestate', tracestate)),
  ];
}

/** The same for an app over gRPC, which has headers of bytes as well. */
export function invocationMetadata(call: Invocation): string[] {
  const binary = binaryOf(call.trace.traceparent);
  const bytes = call.headers.filter((_, i) => call.headers[i - (i % 2)]?.endsWith('-bin'));
  const headers = grpcOnly([...invocationHeaders(call), ...bytes]);
  return binary ? [...headers, 'grpc-trace-bin', binary.toString('base64')] : headers;
}

function headerName(key: string): string | undefined {
  const name = key.startsWith(':') ? `dapr-${key.slice(1)}` : key.startsWith('grpc-') ? `dapr-${key}` : key;
  return KEPT_BACK.has(name) || name.endsWith('-bin') || !NAME.test(name) ? undefined : name;
}
