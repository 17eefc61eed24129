/** Publishing over HTTP: builds the request message and calls the service in process. */

import type { IncomingMessage } from 'node:http';
import type { BulkPublishRequestEntry } from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { SidecarError, messageOf } from '../core/errors.ts';
import { mediaType } from '../core/cloud-event.ts';
import { PublishError, type Publisher } from '../core/publisher.ts';
import { elementsOf, JsonFault, kindAt, objectAt, skipSpace, type ObjectAt } from '../lib/json-bytes.ts';
import type { CallContext } from '../rpc/bind.ts';
import type { DaprApi } from '../rpc/dapr.ts';
import { BodyTooLarge, withBody, type BodyLimits } from './body.ts';
import { metadataOf } from './path.ts';

/** A publish as its path and query describe it, and what it needs to be carried out. */
export interface HttpPublish {
  readonly pubsubName: string;
  readonly topic: string;
  readonly query: string;
  readonly request: IncomingMessage;
  readonly context: CallContext;
}

/** What the gateway publishes through. */
export interface PublishPort extends BodyLimits {
  readonly api: DaprApi;
  /** Throws when the component is not there: Dapr looks before it reads the body. */
  readonly find: Publisher['find'];
  readonly appId: string;
}

export async function publishEvent(port: PublishPort, publish: HttpPublish): Promise<void> {
  const { pubsubName, topic, request } = publish;
  const metadata = metadataOf(publish.query);
  port.find({ pubsubName, topic, metadata });
  const refuse = (error: unknown): never => {
    if (!(error instanceof BodyTooLarge)) throw error;
    const message = `error when publishing to topic ${topic} in pubsub ${pubsubName}: ${error.message}`;
    throw new PublishError(message, pubsubName, { topic, error: error.message }, []);
  };
  const dataContentType = request.headers['content-type'] ?? '';
  await withBody(request, port, refuse, (data) =>
    port.api.publishEvent({ pubsubName, topic, data, dataContentType, metadata }, publish.context),
  );
}

export async function publishBulk(port: PublishPort, publish: HttpPublish): Promise<void> {
  const { pubsubName, topic } = publish;
  const metadata = metadataOf(publish.query);
  port.find({ pubsubName, topic, metadata });
  const refuse = (error: unknown): never => {
    throw error instanceof BodyTooLarge ? invalidBody(port, publish, error) : error;
  };
  await withBody(publish.request, port, refuse, async (body) => {
    const entries = entriesOf(port, publish, body);
    await port.api.bulkPublishEvent({ pubsubName, topic, entries, metadata }, publish.context);
  });
}

function entriesOf(port: PublishPort, publish: HttpPublish, body: Buffer): BulkPublishRequestEntry[] {
  let raw: RawEntry[];
  try {
    raw = parseEntries(body);
  } catch (error) {
    throw error instanceof JsonFault ? invalidBody(port, publish, error) : error;
  }
  try {
    return raw.map(toEntry);
  } catch (thrown) {
    const error = messageOf(thrown);
    const message = `error when marshalling cloud event envelope for ${where(publish)}: ${error}`;
    throw refused(port, publish, 'envelope-invalid', message, { error });
  }
}

const invalidBody = (port: PublishPort, publish: HttpPublish, { message }: Error): SidecarError =>
  refused(port, publish, 'bulk-body-invalid', `error when unmarshaling the request for ${where(publish)}: ${message}`);

const where = ({ topic, pubsubName }: HttpPublish): string => `topic ${topic} pubsub ${pubsubName}`;

const refused = (
  { appId }: PublishPort,
  { pubsubName }: HttpPublish,
  kind: 'bulk-body-invalid' | 'envelope-invalid',
  message: string,
  info: object = {},
): SidecarError => new SidecarError(kind, message, { resource: pubsubName, info: { appID: appId, ...info } });

/** One element of the body, its event still JSON text. */
interface RawEntry {
  readonly id: string;
  readonly contentType: string;
  readonly event: Buffer;
  /** Undefined when the element has no such member, which Dapr treats unlike an empty one. */
  readonly metadata: Record<string, string> | undefined;
}

const GO_TYPE = '[]http.bulkPublishMessageEntry';

function parseEntries(body: Buffer): RawEntry[] {
  const first = skipSpace(body, 0);
  if (body[first] === undefined) throw new JsonFault('EOF');
  const elements = elementsOf(body);
  if (elements) {
    return elements.map((element) => parseEntry(body, typeof element === 'number' ? objectAt(body, element) : element));
  }
  if (kindAt(body, first) === 'null') return [];
  throw new JsonFault(`json: cannot unmarshal ${kindAt(body, first)} into Go value of type ${GO_TYPE}`);
}

function parseEntry(body: Buffer, element: ObjectAt): RawEntry {
  const members = new Map(element.members.map(({ key, from, to }) => [key.toLowerCase(), body.subarray(from, to)]));
  const parsed = (key: string): unknown => JSON.parse(members.get(key)?.toString('utf8') ?? 'null') as unknown;
  const string = (key: string): string => {
    const value = parsed(key);
    if (value === null || typeof value === 'string') return value ?? '';
    throw new JsonFault(
      `json: cannot unmarshal ${typeof value} into Go struct field bulkPublishMessageEntry.${key} of type string`,
    );
  };
  return {
    id: string('entryid'),
    contentType: string('contenttype'),
    event: members.get('event') ?? Buffer.from('null'),
    metadata: stringMap(parsed('metadata')),
  };
}

function stringMap(value: unknown): Record<string, string> | undefined {
  if (value === null) return undefined;
  const entries = Object.entries(value as object);
  if (typeof value !== 'object' || Array.isArray(value) || entries.some(([, v]) => typeof v !== 'string')) {
    throw new JsonFault(
      'json: cannot unmarshal metadata into Go struct field bulkPublishMessageEntry.metadata of type map[string]string',
    );
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

/** The entry of the request message, its bytes by content type (contract 3.5). Throws an Error in Dapr's words. */
function toEntry({ id, contentType, event, metadata }: RawEntry): BulkPublishRequestEntry {
  const bytes = eventBytes(event, mediaType(contentType));
  return { entryId: id, event: bytes, contentType, metadata: metadata as Record<string, string> };
}

const JSON_TYPES = new Set(['application/json', 'application/cloudevents+json']);

function eventBytes(event: Buffer, type: string): Buffer {
  if (JSON_TYPES.has(type)) return event;
  const isText = type.startsWith('text/') || type === 'application/xml';
  const isReadable = isText || type === 'application/octet-stream';
  const value = isReadable ? (JSON.parse(event.toString('utf8')) as unknown) : undefined;
  if (typeof value !== 'string') throw new Error('error: mismatch between contentType and event');
  if (isText) return Buffer.from(value);
  const bad =
    /[^A-Za-z0-9+/=\r\n]/.exec(value) ??
    (value.replace(/[\r\n]/g, '').length % 4 ? { index: value.length } : undefined);
  if (bad) {
    throw new Error(
      `error: unable to decode base64 application/octect-stream data: illegal base64 data at input byte ${bad.index}`,
    );
  }
  return Buffer.from(value, 'base64');
}
