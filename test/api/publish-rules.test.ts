/** What both protocols make of a publish: which metadata and which trace go along, and what is refused whole. */

import { credentials, type ServiceError } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { startDaprd, type Daprd } from '../_support/daprd.ts';
import { startHttpApp, type HttpApp, type Received } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { call } from '../parity/_sidecar.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

interface Scene {
  readonly app: HttpApp;
  readonly daprd: Daprd;
  readonly publish: (request: object, headers?: object) => Promise<unknown>;
  readonly bulk: (request: object, method?: string) => Promise<unknown>;
  /** Waits for so many events of a topic. */
  readonly got: (topic: string, count?: number) => Promise<Received[]>;
}

async function scene(t: ExecutionContext): Promise<Scene> {
  const subscription = (topic: string, more = {}) => ({ pubsubname: 'pubsub', topic, route: `/${topic}`, ...more });
  const raw = { metadata: { rawPayload: 'true' } };
  const app = await startHttpApp({ subscribe: [subscription('a'), subscription('raw', raw)] });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  return {
    app,
    daprd,
    publish: (request, headers) =>
      call(client, 'publishEvent', { ...EVENT, data: Buffer.from('hi'), dataContentType: '', ...request }, headers),
    bulk: (request, method = 'bulkPublishEvent') => call(client, method, { ...EVENT, entries: [], ...request }),
    got: (topic, count = 1) => {
      const ofTopic = (): Received[] => app.received.filter(({ path }) => path === `/${topic}`);
      return until(() => ofTopic().length >= count && ofTopic(), `${count} events of ${topic} came`);
    },
  };
}

const EVENT = { pubsubName: 'pubsub', topic: 'a', metadata: {} };

const entry = (entryId: string, metadata: object = {}) => ({
  entryId,
  event: Buffer.from(entryId),
  contentType: '',
  metadata,
});

test('a component is found by its name alone, letter by letter', async (t) => {
  const { publish, daprd } = await scene(t);
  for (const pubsubName of ['Pubsub', 'pubsub ', 'PUBSUB']) {
    const error = (await t.throwsAsync(publish({ pubsubName }))) as ServiceError;
    t.is(error.details, `pubsub ${pubsubName} is not found`);
  }
  t.is((await fetch(`${daprd.http}/v1.0/publish/Pubsub/a`, { method: 'POST' })).status, 404);
});

test('the trace of a caller over gRPC is in the envelope, of raw bytes in the metadata', async (t) => {
  const { publish, got, daprd } = await scene(t);
  const headers = { traceparent: TRACEPARENT, tracestate: 'a=b' };
  await publish({}, headers);
  const [enveloped] = await got('a');
  t.like(enveloped?.event, { traceparent: TRACEPARENT, traceid: TRACEPARENT, tracestate: 'a=b' });
  t.like(enveloped?.headers, { traceparent: TRACEPARENT, tracestate: 'a=b' });
  await publish({ topic: 'raw', metadata: { rawPayload: 'true' } }, headers);
  const [raw] = await got('raw');
  t.like(raw?.headers, { traceid: TRACEPARENT, tracestate: 'a=b' });
  t.like(raw?.event, { data_base64: Buffer.from('hi').toString('base64'), traceid: TRACEPARENT, tracestate: 'a=b' });
  await fetch(`${daprd.http}/v1.0/publish/pubsub/raw?metadata.rawPayload=true`, {
    method: 'POST',
    headers,
    body: 'http',
  });
  const [, overHttp] = await got('raw', 2);
  t.false('traceid' in (overHttp?.headers ?? {}));
  t.false('traceid' in (overHttp?.event ?? {}));
});

test('a bulk publish under both of its names delivers each entry; one without entries is a success', async (t) => {
  const { bulk, got, app } = await scene(t);
  t.deepEqual(await bulk({}), { failedEntries: [] });
  t.deepEqual(await bulk({ entries: [entry('1'), entry('2')] }), { failedEntries: [] });
  t.deepEqual(await bulk({ entries: [entry('3')] }, 'bulkPublishEventAlpha1'), { failedEntries: [] });
  const events = await got('a', 3);
  t.deepEqual(
    events.map(({ event }) => event['data']),
    ['1', '2', '3'],
  );
  t.true(events.every(({ event }) => event['datacontenttype'] === 'text/plain'));
  t.is(app.received.length, 3);
});

test('an entry id that is missing or comes twice fails the whole call, and nothing is published', async (t) => {
  const { bulk, got, app, daprd } = await scene(t);
  for (const entries of [
    [entry('1'), entry('')],
    [entry('1'), entry('2'), entry('1')],
  ]) {
    const error = (await t.throwsAsync(bulk({ entries }))) as ServiceError;
    t.is(error.code, 3);
    t.regex(error.details, /entryId is duplicated or not present for entry$/);
    const body = entries.map(({ entryId }) => ({ entryId, event: 'x', contentType: 'text/plain' }));
    const answer = await bulkOverHttp(daprd, body);
    t.is(answer.status, 400);
    t.is((answer.body as { errorCode: string }).errorCode, 'ERR_PUBSUB_EVENTS_SER');
  }
  await bulk({ entries: [entry('last')] });
  await got('a');
  t.is(app.received.length, 1);
});

async function bulkOverHttp(
  daprd: Daprd,
  body: unknown,
  query = '',
  topic = 'a',
): Promise<{ status: number; body: unknown; headers: Headers }> {
  const answer = await fetch(`${daprd.http}/v1.0/publish/bulk/pubsub/${topic}?${query}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, body: text === '' ? '' : (JSON.parse(text) as unknown) };
}

test('metadata of a bulk publish lies beneath that of its entries; which entries get any, each protocol says', async (t) => {
  const { bulk, got, daprd } = await scene(t);
  const metadata = { colour: 'red', size: 'xl' };
  await bulk({ metadata, entries: [entry('own', { size: 's' }), entry('none')] });
  const events = await got('a', 2);
  const headersOf = (data: string) => events.find(({ event }) => event['data'] === data)?.headers;
  t.like(headersOf('own'), { colour: 'red', size: 's' });
  t.false('colour' in (headersOf('none') ?? { colour: '' }));
  const item = (entryId: string, more = {}) => ({ entryId, event: entryId, contentType: 'text/plain', ...more });
  const body = [item('own', { metadata: { size: 's' } }), item('empty', { metadata: {} }), item('none')];
  t.is((await bulkOverHttp(daprd, body, 'metadata.colour=red&metadata.size=xl')).status, 204);
  const later = (await got('a', 5)).slice(2);
  const of = (data: string) => later.find(({ event }) => event['data'] === data)?.headers;
  t.like(of('own'), { colour: 'red', size: 's' });
  t.like(of('empty'), { colour: 'red', size: 'xl' });
  t.false('colour' in (of('none') ?? { colour: '' }));
});

test('rawPayload of the request decides for all entries, and one of an entry for none', async (t) => {
  const { bulk, got } = await scene(t);
  await bulk({
    topic: 'raw',
    metadata: { rawPayload: 'true' },
    entries: [entry('1', { rawPayload: 'false' }), entry('2')],
  });
  const base64 = (await got('raw', 2)).map(({ event }) => event['data_base64']);
  t.deepEqual(
    base64.map((text) => Buffer.from(String(text), 'base64').toString()),
    ['1', '2'],
  );
  await bulk({ entries: [entry('3', { rawPayload: 'true' })] });
  t.is((await got('a'))[0]?.event['data'], '3');
});

test('bytes of a bulk entry over HTTP are read by its content type', async (t) => {
  const { got, daprd } = await scene(t);
  const item = (contentType: string, event: unknown) => ({ entryId: '1', contentType, event });
  for (const [contentType, event, expected] of [
    ['application/octet-stream', 'AAH/', { data_base64: 'AAH/' }],
    ['text/plain; charset=utf-8', 'tëxt', { data: 'tëxt' }],
    ['application/xml', '<a/>', { data: '<a/>' }],
    ['APPLICATION/json', { b: 1, a: [null] }, { data: { b: 1, a: [null] } }],
  ] as const) {
    const before = (await got('a', 0)).length;
    t.is((await bulkOverHttp(daprd, [item(contentType, event)])).status, 204, contentType);
    t.like((await got('a', before + 1)).at(-1)?.event, expected);
  }
  for (const [contentType, event, message] of [
    ['image/png', 'AAH/', /mismatch between contentType and event$/],
    ['', 'x', /mismatch between contentType and event$/],
    ['text/plain', 7, /mismatch between contentType and event$/],
    ['application/octet-stream', '?', /unable to decode base64 application\/octect-stream data/],
  ] as const) {
    const { status, body } = await bulkOverHttp(daprd, [item(contentType, event)]);
    t.is(status, 400, contentType);
    t.regex((body as { message: string }).message, message);
  }
});

test('JSON of a bulk publish keeps its numbers and its bytes', async (t) => {
  const { got, daprd } = await scene(t);
  const event = '{ "b": 12345678901234567890.10, "a": "<&>" }';
  t.is((await bulkOverHttp(daprd, `[{"entryID":"1","contentType":"application/json","event":${event}}]`)).status, 204);
  const [received] = await got('a');
  t.true(received?.body.includes(`"data":${event}`), received?.body.toString());
});

test('over HTTP only the query says metadata: neither metadata.* nor ce-* headers do', async (t) => {
  const { got, daprd } = await scene(t);
  await fetch(`${daprd.http}/v1.0/publish/pubsub/a?metadata.colour=red&Metadata.size=xl`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain', 'metadata.shape': 'round', 'ce-id': 'mine', 'ce-type': 'mine' },
    body: 'x',
  });
  const [received] = await got('a');
  t.is(received?.headers['colour'], 'red');
  for (const name of ['size', 'shape', 'metadata.shape', 'ce-id', 'ce-type'])
    t.false(name in (received?.headers ?? {}), name);
  t.is(received?.event['type'], 'com.dapr.event.sent');
  t.not(received?.event['id'], 'mine');
});

test('the first thing that is wrong with a publish is what the error says', async (t) => {
  const { daprd } = await startScene(t);
  const publish = async (pubsub: string, query: string, body: string, topic = 'a'): Promise<unknown> => {
    const answer = await fetch(`${daprd.http}/v1.0/publish/${pubsub}/${topic}?${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body,
    });
    return answer.status === 204 ? '' : ((await answer.json()) as { errorCode: string }).errorCode;
  };
  const large = 'x'.repeat(70_000);
  t.is(await publish('nope', 'metadata.rawPayload=maybe', large), 'ERR_PUBSUB_NOT_FOUND');
  t.is(await publish('pubsub', 'metadata.rawPayload=maybe', large), 'ERR_PUBSUB_PUBLISH_MESSAGE');
  t.is(await publish('pubsub', 'metadata.rawPayload=maybe', '{'), 'ERR_PUBSUB_REQUEST_METADATA');
  t.is(await publish('pubsub', '', '{', 'forbidden'), 'ERR_PUBSUB_CLOUD_EVENTS_SER');
  t.is(await publish('pubsub', '', '{}', 'forbidden'), 'ERR_PUBSUB_FORBIDDEN');
  t.is(await publish('pubsub', '', '{}'), '');
  const tooLarge = await bulkOverHttp(daprd, `["${large}"]`);
  t.is(tooLarge.status, 400);
  const { errorCode, message } = tooLarge.body as { errorCode: string; message: string };
  t.is(errorCode, 'ERR_PUBSUB_EVENTS_SER');
  t.is(message, 'error when unmarshaling the request for topic a pubsub pubsub: stream too large');
});

async function startScene(t: ExecutionContext): Promise<{ daprd: Daprd }> {
  const file =
    'apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: { name: pubsub }\nspec:\n  type: pubsub.in-memory\n' +
    '  version: v1\n  metadata: [{ name: allowedTopics, value: a }]\n';
  return { daprd: await startDaprd(t, { resources: { 'pubsub.yaml': file }, args: ['--max-body-size=64Ki'] }) };
}

test('a stored value that cannot be read is refused with the reason, and the sidecar goes on', async (t) => {
  const daprd = await startDaprd(t, { args: ['--max-body-size=1Ki'] });
  const put = (body: string): Promise<Response> => fetch(`${daprd.http}/v1.0/metadata/k`, { method: 'PUT', body });
  const refused = await put('x'.repeat(2000));
  t.is(refused.status, 400);
  t.deepEqual(await refused.json(), {
    errorCode: 'ERR_BODY_READ',
    message: 'failed to read request body: stream too large',
  });
  t.is((await put('x')).status, 204);
});
