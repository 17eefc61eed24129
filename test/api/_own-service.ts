/** An app with a service of its own, and clients that call it through the sidecar: both of grpc-js. */

import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type CallOptions,
  type ClientOptions,
  type ClientReadableStream,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServerOptions,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import { AppCallbackService, type TopicEventRequest } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { startDaprd, type Daprd, type DaprdOptions } from '../_support/daprd.ts';

export interface Handlers {
  readonly unary?: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => void;
  readonly down?: (call: ServerWritableStream<Buffer, Buffer>) => void;
  readonly up?: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => void;
  readonly both?: (call: ServerDuplexStream<Buffer, Buffer>) => void;
  /** Hears of the ids of events. */
  readonly onEvent?: (id: string) => void;
}

type Headers = Readonly<Record<string, string | Buffer>>;

export const TO_APP: Headers = { 'dapr-app-id': 'app' };
const ANY_SIZE = { 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 };
const SERVICE = '/own.Service';
export const asIs = (bytes: Buffer): Buffer => bytes;

const definition = (path: string, requestStream: boolean, responseStream: boolean) => ({
  ...{ path, requestStream, responseStream },
  ...{ requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
});

export function metadataOf(headers: Headers): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

/** Starts the app and gives back its port. */
export async function startOwn(
  t: ExecutionContext,
  { onEvent, ...handlers }: Handlers,
  options: ServerOptions = {},
): Promise<number> {
  const server = new Server({ ...ANY_SIZE, ...options });
  const service = {
    unary: definition(`${SERVICE}/unary`, false, false),
    down: definition(`${SERVICE}/down`, false, true),
    up: definition(`${SERVICE}/up`, true, false),
    both: definition(`${SERVICE}/both`, true, true),
  };
  server.addService(service, handlers as never);
  server.addService(AppCallbackService, {
    onTopicEvent: ({ request }: { request: TopicEventRequest }, done: (error: null, answer: object) => void) => {
      onEvent?.(request.id);
      done(null, {});
    },
  });
  t.teardown(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    const bound = (error: Error | null, port: number): void => (error ? reject(error) : resolve(port));
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), bound);
  });
}

export function clientOf(t: ExecutionContext, { grpcPort }: Daprd, options: ClientOptions = {}): Client {
  const client = new Client(`127.0.0.1:${grpcPort}`, credentials.createInsecure(), { ...ANY_SIZE, ...options });
  t.teardown(() => client.close());
  return client;
}

/** The app, its sidecar and a client of that. */
export async function stage(t: ExecutionContext, handlers: Handlers, { args = [], ...more }: DaprdOptions = {}) {
  const appPort = await startOwn(t, handlers);
  const daprd = await startDaprd(t, { appPort, args: ['--app-protocol', 'grpc', ...args], ...more });
  return { daprd, client: clientOf(t, daprd) };
}

export interface Answered {
  readonly error: ServiceError | null;
  readonly body: Buffer | undefined;
  readonly headers: Metadata;
  readonly status: StatusObject;
}

export interface UnaryOptions {
  readonly headers?: Headers | Metadata;
  readonly call?: CallOptions;
  readonly path?: string;
}

/** All that comes back of a unary call. */
export function unary(client: Client, body: string | Buffer, options: UnaryOptions = {}): Promise<Answered> {
  const { headers = TO_APP, call = {}, path = `${SERVICE}/unary` } = options;
  const metadata = headers instanceof Metadata ? headers : metadataOf(headers);
  return new Promise((resolve) => {
    let answered: Partial<Answered> = { headers: new Metadata() };
    const add = (more: Partial<Answered>): void => {
      answered = { ...answered, ...more };
      if ('error' in answered && answered.status) resolve(answered as Answered);
    };
    client
      .makeUnaryRequest(path, asIs, asIs, Buffer.from(body), metadata, call, (error, answer) =>
        add({ error, body: answer }),
      )
      .on('metadata', (early: Metadata) => add({ headers: early }))
      .on('status', (status: StatusObject) => add({ status }));
  });
}

/** A stream both ways, and what comes of it. */
export function both(client: Client, call: CallOptions = {}) {
  const stream = client.makeBidiStreamRequest(`${SERVICE}/both`, asIs, asIs, metadataOf(TO_APP), call);
  return { stream, ...heard(stream) };
}

/** The messages of a stream and its status, as they come. */
export function heard(stream: ClientReadableStream<Buffer>) {
  const got: string[] = [];
  const ends: StatusObject[] = [];
  stream.on('data', (bytes: Buffer) => got.push(bytes.toString()));
  stream.on('error', () => undefined).on('status', (status: StatusObject) => ends.push(status));
  return { got, ends };
}

export const upload = (client: Client, done: (error: ServiceError | null, answer?: Buffer) => void) =>
  client.makeClientStreamRequest(`${SERVICE}/up`, asIs, asIs, metadataOf(TO_APP), {}, done);

export const download = (client: Client, body = '') =>
  client.makeServerStreamRequest(`${SERVICE}/down`, asIs, asIs, Buffer.from(body), metadataOf(TO_APP));
