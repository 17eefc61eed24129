/** A message's metadata as headers of the request to the app (contract 6.1). */

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
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;

const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** Flat list of names and values. What cannot be a header is left out: it must not cost the delivery. */
export function headersOf(event: TopicEvent): string[] {
  const headers = pubsubHeader(event);
  for (const key in event.metadata) {
    const name = headerName(key.toLowerCase());
    if (name !== undefined) headers.push(...headerOf(name, event.metadata[key] as string));
  }
  if (event.traceparent !== '') headers.push(...headerOf('traceparent', event.traceparent));
  if (event.tracestate !== '') headers.push(...headerOf('tracestate', event.tracestate));
  return headers;
}

/** The one header that a batch has of its own. */
export const pubsubHeader = ({ pubsubName }: TopicEvent): string[] => headerOf('pubsubname', pubsubName);

/** Name and value as they go on the wire: UTF-8, one character a byte. Empty where the value cannot be a header's. */
export function headerOf(name: string, value: string): string[] {
  return CONTROL.test(value) ? [] : [name, Buffer.from(value).toString('latin1')];
}

/** The same for gRPC, which has the trace in binary form as well. */
export function callMetadataOf(event: TopicEvent): string[] {
  const headers = headersOf(event);
  const binary = binaryOf(event.traceparent);
  if (binary) headers.push('grpc-trace-bin', binary.toString('base64'));
  return headers;
}

function headerName(key: string): string | undefined {
  const name = key.startsWith(':') ? `dapr-${key.slice(1)}` : key.startsWith('grpc-') ? `dapr-${key}` : key;
  return KEPT_BACK.has(name) || name.endsWith('-bin') || !NAME.test(name) ? undefined : name;
}
