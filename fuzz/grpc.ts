/** The gRPC API of a real sidecar, with an app over gRPC that gets what is published. An input is a call as JSON. */

import { Client, credentials, logVerbosity, Metadata, setLogVerbosity, type ServiceError } from '@grpc/grpc-js';
import {
  BulkPublishRequest,
  PublishEventRequest,
  SubscribeTopicEventsRequestAlpha1,
} from '../gen/dapr/proto/runtime/v1/pubsub.ts';
import { startGrpcApp } from '../test/_support/grpc-app.ts';
import { until } from '../test/_support/until.ts';
import type { Random } from './random.ts';
import { startFuzzed } from './sidecar.ts';
import type { Target } from './target.ts';

interface Call {
  readonly method: string;
  /** Messages, base64. */
  readonly messages: readonly string[];
  readonly headers: readonly (readonly [string, string])[];
}

const UNARY = [
  'PublishEvent',
  'PublishEvent',
  'BulkPublishEvent',
  'BulkPublishEventAlpha1',
  'GetMetadata',
  'SetMetadata',
];
const TYPES = ['application/json', 'application/cloudevents+json', 'text/plain', 'application/octet-stream', ''];

const texts = (random: Random): Record<string, string> =>
  Object.fromEntries(random.many(4, () => [random.text(), random.chance(3) ? 'x'.repeat(70_000) : random.text()]));

function payload(random: Random): Buffer {
  const text = JSON.stringify(
    random.chance(50) ? { ...(random.json() as object), type: random.json(1) } : random.json(),
  );
  return random.chance(40) ? random.damage(Buffer.from(text ?? '')) : Buffer.from(text ?? '');
}

function message(random: Random, method: string): Uint8Array {
  const pubsubName = random.chance(85) ? 'pubsub' : random.text();
  const topic = random.chance(80) ? 'fuzzed' : random.text();
  const contentType = random.chance(80) ? random.pick(TYPES) : random.text();
  if (method.startsWith('Bulk')) {
    const entries = random.many(4, () => ({
      entryId: random.text(),
      event: payload(random),
      contentType,
      metadata: texts(random),
    }));
    return BulkPublishRequest.encode({ pubsubName, topic, entries, metadata: texts(random) }).finish();
  }
  if (method === 'SubscribeTopicEventsAlpha1') {
    const value = { pubsubName, topic: random.text(), metadata: texts(random), deadLetterTopic: random.text() };
    const processed = { id: random.text(), status: { status: random.below(5) as 0 } };
    return SubscribeTopicEventsRequestAlpha1.encode({
      subscribeTopicEventsRequestType: random.chance(60)
        ? { $case: 'initialRequest', value }
        : { $case: 'eventProcessed', value: processed },
    }).finish();
  }
  const request = { pubsubName, topic, data: payload(random), dataContentType: contentType, metadata: texts(random) };
  return PublishEventRequest.encode(request).finish();
}

function call(random: Random): Buffer {
  const isStream = random.chance(10);
  const method = isStream ? 'SubscribeTopicEventsAlpha1' : random.pick(UNARY);
  const messages = Array.from({ length: isStream ? 1 + random.below(3) : 1 }, () => {
    const bytes = Buffer.from(message(random, method));
    return (random.chance(25) ? random.damage(bytes) : bytes).toString('base64');
  });
  const headers = random.many(3, () => [
    random.pick(['traceparent', 'tracestate', 'dapr-api-token', 'x']),
    random.text().replace(/[^ -~]/g, ''),
  ]);
  return Buffer.from(JSON.stringify({ method, messages, headers }));
}

const asIs = (bytes: Buffer): Buffer => bytes;
const DEADLINE_MS = 8000;
const [UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE] = [2, 4, 13, 14];
/** Bytes that are no message: gRPC's own answer to that is INTERNAL. */
const NO_MESSAGE = /deserializ|unmarshal/i;

function verdict({ code, details }: ServiceError, isStream: boolean): string | undefined {
  if (code === DEADLINE_EXCEEDED && !isStream) return 'no answer';
  if (code === INTERNAL && !NO_MESSAGE.test(details)) return `INTERNAL: ${details}`;
  if (code === UNAVAILABLE || (code === UNKNOWN && !isStream)) return `${code}: ${details}`;
  return undefined;
}

function carryOut(client: Client, { method, messages, headers }: Call): Promise<string | undefined> {
  const path = `/dapr.proto.runtime.v1.Dapr/${method}`;
  const metadata = new Metadata();
  for (const [name, value] of headers) metadata.add(name, value);
  const isStream = method === 'SubscribeTopicEventsAlpha1';
  const options = { deadline: Date.now() + (isStream ? 100 : DEADLINE_MS) };
  const bytes = messages.map((one) => Buffer.from(one, 'base64'));
  return new Promise((resolve) => {
    const done = (error: ServiceError | null): void => resolve(error ? verdict(error, isStream) : undefined);
    if (!isStream) return void client.makeUnaryRequest(path, asIs, asIs, bytes[0] as Buffer, metadata, options, done);
    const stream = client.makeBidiStreamRequest(path, asIs, asIs, metadata, options);
    stream.on('error', done).on('data', () => undefined);
    for (const one of bytes) stream.write(one);
    stream.end();
  });
}

export const grpcTarget: Target = {
  name: 'grpc',
  about: 'the gRPC API, streams too, and deliveries to an app over gRPC',
  generate: call,
  open: async () => {
    setLogVerbosity(logVerbosity.NONE);
    const marks = new Set<string>();
    const reply = ({ data }: { data: Uint8Array }): number => {
      const text = data.length < 100 ? Buffer.from(data).toString() : '';
      if (text.startsWith('mark ')) marks.add(text);
      return 0;
    };
    const app = await startGrpcApp({ subscriptions: [{ topic: 'fuzzed' }], reply, keep: 100 });
    const sidecar = await startFuzzed(app.port, 'grpc');
    const client = new Client(`127.0.0.1:${sidecar.grpcPort}`, credentials.createInsecure());
    let round = 0;
    const delivers = async (): Promise<string | undefined> => {
      const mark = `mark ${round}`;
      const request = {
        pubsubName: 'pubsub',
        topic: 'fuzzed',
        data: Buffer.from(mark),
        dataContentType: 'text/plain',
        metadata: {},
      };
      const bytes = Buffer.from(PublishEventRequest.encode(request).finish()).toString('base64');
      const refused = await carryOut(client, { method: 'PublishEvent', messages: [bytes], headers: [] });
      if (refused !== undefined) return `a plain publish: ${refused}`;
      await until(() => marks.has(mark), 'a plain event is delivered');
      return sidecar.fault();
    };
    return {
      run: async (input) => {
        const wrong = await carryOut(client, JSON.parse(input.toString('utf8')) as Call);
        if (wrong !== undefined) return wrong;
        return ++round % 200 === 0 ? delivers() : sidecar.fault();
      },
      finish: delivers,
      close: async () => {
        client.close();
        await sidecar.close();
        app.close();
      },
    };
  },
};
