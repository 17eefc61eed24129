/**
 * Three views of the messages: what ts-proto generated (`gen/`), what proto-loader reads from `proto/`, and what a
 * client learns by reflection. Each field of each message is written by hand, byte by byte, and all three must read
 * and write it alike.
 */

import { join } from 'node:path';
import type { Client } from '@grpc/grpc-js';
import { credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync, type MessageTypeDefinition, type PackageDefinition } from '@grpc/proto-loader';
import test, { type ExecutionContext } from 'ava';
import * as common from '../../gen/dapr/proto/common/v1/common.ts';
import * as appcallback from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import * as dapr from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import * as invoke from '../../gen/dapr/proto/runtime/v1/invoke.ts';
import * as metadata from '../../gen/dapr/proto/runtime/v1/metadata.ts';
import * as pubsub from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import * as struct from '../../gen/google/protobuf/struct.ts';
import * as any from '../../gen/google/protobuf/any.ts';
import * as empty from '../../gen/google/protobuf/empty.ts';
import * as health from '../../gen/grpc/health/v1/health.ts';
import { startDaprd } from '../_support/daprd.ts';
import { reflected, varint } from './_reflection.ts';

const PROTOS = join(import.meta.dirname, '../../proto');
const FILES = [
  'dapr/proto/runtime/v1/dapr.proto',
  'dapr/proto/runtime/v1/appcallback.proto',
  'grpc/health/v1/health.proto',
];
const LOADER = { longs: Number, keepCase: true, includeDirs: [PROTOS] };

type Message = Record<string, unknown>;
interface TsProto {
  decode(bytes: Uint8Array): Message;
  encode(message: Message): { finish(): Uint8Array };
}
const GENERATED = Object.assign(
  {},
  common,
  appcallback,
  dapr,
  invoke,
  metadata,
  pubsub,
  struct,
  any,
  empty,
  health,
) as unknown as Readonly<Record<string, TsProto>>;

interface Field {
  readonly name: string;
  readonly number: number;
  readonly label: string;
  readonly type: string;
  readonly typeName: string;
}
interface Descriptor {
  readonly name: string;
  readonly field: readonly Field[];
  readonly nestedType: readonly Descriptor[];
}
type Loaded = MessageTypeDefinition<Message, Message>;

const messagesOf = (definition: PackageDefinition): [string, Loaded][] =>
  Object.entries(definition).filter(([, { format }]) => format === 'Protocol Buffer 3 DescriptorProto') as never;

/** The name in `gen/`: that of the message after its package, with `_` before a nested one. */
const generatedName = (fullName: string): string =>
  fullName
    .split('.')
    .filter((part) => /^[A-Z]/.test(part))
    .join('_');

const lengthPrefixed = (bytes: Buffer): Buffer => Buffer.concat([varint(bytes.length), bytes]);

/** How the fields of each type are written, their wire type first. */
const SCALARS: Readonly<Record<string, (field: Field) => readonly [wire: number, bytes: Buffer]>> = {
  TYPE_STRING: ({ number }) => [2, lengthPrefixed(Buffer.from(`string ${number} ü`))],
  TYPE_BYTES: ({ number }) => [2, lengthPrefixed(Buffer.from([0, 255, number]))],
  TYPE_DOUBLE: () => [1, Buffer.from([0, 0, 0, 0, 0, 0, 0xe0, 0x3f])],
  TYPE_BOOL: () => [0, varint(1)],
  TYPE_ENUM: () => [0, varint(1)],
  TYPE_INT32: ({ number }) => [0, varint(300 + number)],
};

/** Writes one field, its message types `depth` levels deep. */
function fieldBytes(all: ReadonlyMap<string, Descriptor>, owner: Descriptor, field: Field, depth: number): Buffer {
  const tagged = (wire: number, bytes: Buffer): Buffer => Buffer.concat([varint((field.number << 3) | wire), bytes]);
  if (field.type !== 'TYPE_MESSAGE') {
    const written = SCALARS[field.type]?.(field);
    if (!written) throw new Error(`a field of type ${field.type} is new here: say how it is written`);
    return tagged(...written);
  }
  const short = field.typeName.split('.').at(-1) as string;
  const nested = owner.nestedType.find(({ name }) => name === short); // the entry of a map: it has all of its fields
  const inner = nested ?? all.get(short);
  if (!inner) throw new Error(`no message ${field.typeName}`);
  const some = inner.field.find(({ type }) => type === 'TYPE_STRING') ?? inner.field[0];
  const written = depth === 0 ? [] : nested ? nested.field : some ? [some] : [];
  return tagged(2, lengthPrefixed(Buffer.concat(written.map((one) => fieldBytes(all, inner, one, depth - 1)))));
}

const camel = (name: string): string => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase());

/**
 * As ts-proto has it: names in camel case (no key of a map here has an underscore), and maps, which proto-loader makes
 * lists of entries where it has the types from descriptors.
 */
function camelCase(value: unknown): unknown {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const entries = value as { key?: string; value?: unknown }[];
    const isMap = entries.length > 0 && entries.every((entry) => Object.keys(entry).sort().join() === 'key,value');
    return isMap ? Object.fromEntries(entries.map((one) => [one.key, camelCase(one.value)])) : value.map(camelCase);
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [camel(key), camelCase(member)]));
}

/** A message of ts-proto with its oneofs as plain members. */
function flat(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(flat);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) =>
      typeof member === 'object' && member !== null && '$case' in member
        ? [[member.$case as string, flat((member as { value?: unknown }).value)]]
        : [[key, flat(member)]],
    ),
  );
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** ts-proto gives these as the JSON they stand for: only their bytes can be compared. */
const isPlainJson = (bytes: unknown): boolean => /Struct|Value/.test(String(bytes));

function compare(t: ExecutionContext, definition: PackageDefinition): number {
  const messages = messagesOf(definition);
  const all = new Map(messages.map(([, { type }]) => [(type as Descriptor).name, type as Descriptor]));
  let fields = 0;
  for (const [name, loaded] of messages) {
    const generated = GENERATED[generatedName(name)];
    if (!generated) {
      t.fail(`${name} is not in gen/`);
      continue;
    }
    const descriptor = loaded.type as Descriptor;
    for (const field of descriptor.field) {
      const what = `${name}.${field.name}`;
      const bytes = fieldBytes(all, descriptor, field, 3);
      const theirs = loaded.deserialize(bytes);
      t.is(hex(loaded.serialize(theirs)), hex(bytes), `${what} as proto-loader writes it`);
      if (!isPlainJson(generatedName(name))) {
        const ours = generated.decode(bytes);
        t.is(hex(generated.encode(ours).finish()), hex(bytes), `${what} as ts-proto writes it`);
        if (!isPlainJson(field.typeName)) t.like(flat(ours), camelCase(theirs) as object, what);
      }
      fields++;
    }
  }
  return fields;
}

test('proto-loader and ts-proto agree on every field of every message', (t) => {
  const definition = loadSync(FILES, LOADER);
  t.true(messagesOf(definition).length > 40);
  t.true(compare(t, definition) > 120);
});

test('what reflection tells of the services is what proto/ says of them, and ts-proto agrees', async (t) => {
  const daprd = await startDaprd(t);
  const written = new Map(messagesOf(loadSync(FILES, LOADER)).map(([name, { type }]) => [name, type]));
  for (const version of ['v1', 'v1alpha'] as const) {
    const { services, definition } = await reflected(daprd.grpcPort, version, LOADER);
    t.true(services.includes('dapr.proto.runtime.v1.Dapr') && services.includes('grpc.health.v1.Health'));
    const told = messagesOf(definition);
    for (const [name, { type }] of told) {
      const shape = ({ field }: Descriptor): unknown[] =>
        field.map(({ name, number, type, label }) => [camel(name), number, type, label]);
      t.deepEqual(shape(type as Descriptor), shape(written.get(name) as Descriptor), name);
    }
    t.true(compare(t, definition) > 60);
  }
});

test('clients made from proto/, from reflection and from gen/ get the same answers', async (t) => {
  const daprd = await startDaprd(t);
  const address = `127.0.0.1:${daprd.grpcPort}`;
  const insecure = credentials.createInsecure();
  const { definition } = await reflected(daprd.grpcPort, 'v1', LOADER);
  const clients: Record<string, Client> = { 'gen/': new dapr.DaprClient(address, insecure) };
  for (const [name, loaded] of [
    ['proto/', loadSync(FILES, LOADER)],
    ['reflection', definition],
  ] as const) {
    const root = loadPackageDefinition(loaded) as never as {
      dapr: { proto: { runtime: { v1: { Dapr: new (...args: unknown[]) => Client } } } };
    };
    clients[name] = new root.dapr.proto.runtime.v1.Dapr(address, insecure);
  }
  t.teardown(() => Object.values(clients).forEach((client) => client.close()));
  const call = (client: Client, method: string, request: object): Promise<object> =>
    new Promise((resolve, reject) => {
      const methods = client as never as Record<
        string,
        (request: object, done: (e: ServiceError | null, r: object) => void) => void
      >;
      methods[method]?.(request, (error, response) => (error ? reject(error) : resolve(response)));
    });
  const event = { topic: 't', data: Buffer.from('1'), dataContentType: '' };
  const on = (pubsub: string, client: string): object => ({
    ...event,
    pubsubName: pubsub,
    pubsub_name: pubsub,
    metadata: client === 'reflection' ? [{ key: 'a', value: 'b' }] : { a: 'b' },
  });
  for (const [name, client] of Object.entries(clients)) {
    t.deepEqual(await call(client, 'publishEvent', on('pubsub', name)), {}, name);
    await call(client, 'setMetadata', { key: name, value: 'was here' });
    const error = await t.throwsAsync(call(client, 'publishEvent', on('nowhere', name)));
    t.is((error as ServiceError).code, 3, name);
  }
  const ours = flat(await call(clients['gen/'] as Client, 'getMetadata', {})) as object;
  for (const name of ['proto/', 'reflection'])
    t.like(ours, camelCase(await call(clients[name] as Client, 'getMetadata', {})) as object, name);
  t.like(ours, { extendedMetadata: { 'gen/': 'was here', 'proto/': 'was here', reflection: 'was here' } });
});
