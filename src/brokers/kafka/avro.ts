/** Messages in Avro, with schemas of a registry: JSON on our side, the registry's wire format on Kafka's. */

import type { Type } from 'avsc';
import { messageOf } from '../../core/errors.ts';
import { basic, loginOf } from '../../lib/login-of.ts';
import type { KafkaSettings } from './settings.ts';

interface Schema {
  readonly id: number;
  readonly type: Type;
}

interface Latest {
  readonly schema: Promise<Schema>;
  readonly at: number;
}

const MAGIC = 0;
const HEAD = 5;
const TIMEOUT_MS = 10_000;
const MAX_ANSWER = 2 ** 22;

/** Whether metadata ask for Avro. Throws for a type of schema that is none. */
export function asksForAvro(metadata: Readonly<Record<string, string>>): boolean {
  const wanted = metadata['valueSchemaType'];
  if (wanted === undefined || wanted === '' || /^none$/i.test(wanted)) return false;
  if (/^avro$/i.test(wanted)) return true;
  throw new Error(`valueSchemaType wants Avro or None, not '${wanted}'`);
}

export class Avro {
  private readonly settings: KafkaSettings;
  /** A schema never changes under its id. */
  private readonly byId = new Map<number, Promise<Type>>();
  private readonly latest = new Map<string, Latest>();

  constructor(settings: KafkaSettings) {
    this.settings = settings;
  }

  /** JSON in the latest schema of the topic. Rejects when there is none or the value does not fit. */
  async encode(topic: string, json: Uint8Array): Promise<Buffer> {
    const { id, type } = await this.latestOf(`${topic}-value`);
    const text = Buffer.from(json).toString('utf8');
    try {
      const { useAvroJSON } = this.settings;
      const value: unknown = useAvroJSON
        ? type.fromString(text)
        : type.clone(JSON.parse(text), { coerceBuffers: true, wrapUnions: true });
      const head = Buffer.alloc(HEAD, MAGIC);
      head.writeInt32BE(id, 1);
      return Buffer.concat([head, type.toBuffer(value)]);
    } catch (error) {
      throw new Error(`the message does not fit the schema of ${topic}-value: ${messageOf(error)}`, { cause: error });
    }
  }

  /** JSON of a value; what is not in the registry's format stays as it is. Rejects when the schema cannot be had. */
  async decode(value: Buffer): Promise<Buffer> {
    if (value.length < HEAD || value[0] !== MAGIC) return value;
    const type = await this.typeOf(value.readInt32BE(1));
    try {
      const read: unknown = type.fromBuffer(value.subarray(HEAD));
      return Buffer.from(this.settings.useAvroJSON ? type.toString(read) : JSON.stringify(read, plain));
    } catch {
      return value;
    }
  }

  private async latestOf(subject: string): Promise<Schema> {
    const { schemaCachingEnabled, schemaLatestVersionCacheTTL } = this.settings;
    const known = this.latest.get(subject);
    if (known && schemaCachingEnabled && performance.now() - known.at < schemaLatestVersionCacheTTL)
      return known.schema;
    const schema = this.ask(`/subjects/${encodeURIComponent(subject)}/versions/latest`).then(
      async ({ id, schema: text }) => {
        return { id: Number(id), type: await parse(text) };
      },
    );
    this.latest.set(subject, { schema, at: performance.now() });
    schema.catch(() => this.latest.delete(subject));
    return schema;
  }

  private typeOf(id: number): Promise<Type> {
    const known = this.byId.get(id);
    if (known) return known;
    const type = this.ask(`/schemas/ids/${id}`).then(({ schema }) => parse(schema));
    this.byId.set(id, type);
    type.catch(() => this.byId.delete(id));
    return type;
  }

  private async ask(path: string): Promise<{ id?: unknown; schema?: unknown }> {
    const { schemaRegistryURL, schemaRegistryAPIKey: key, schemaRegistryAPISecret: secret } = this.settings;
    if (schemaRegistryURL === '') throw new Error('schemaRegistryURL is not set');
    try {
      const { address, authorization: given } = loginOf(schemaRegistryURL.replace(/\/+$/, '') + path);
      const authorization = key === '' ? given : basic(key, secret);
      const headers = { accept: 'application/json', ...(authorization !== '' && { authorization }) };
      const response = await fetch(address, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
      const body = await response.text();
      if (!response.ok || body.length > MAX_ANSWER) throw new Error(`status ${response.status}`);
      return JSON.parse(body) as { id?: unknown; schema?: unknown };
    } catch (error) {
      throw new Error(`schema registry: ${path}: ${messageOf(error)}`, { cause: error });
    }
  }
}

async function parse(schema: unknown): Promise<Type> {
  const { default: { Type } } = await import('avsc'); // prettier-ignore
  if (typeof schema !== 'string') throw new Error('schema registry: an answer without a schema');
  return Type.forSchema(JSON.parse(schema) as Parameters<typeof Type.forSchema>[0]);
}

/** Bytes as Avro has them in JSON: a character each. */
function plain(this: Record<string, unknown>, name: string, value: unknown): unknown {
  const original = this[name];
  return Buffer.isBuffer(original) ? original.toString('latin1') : value;
}
