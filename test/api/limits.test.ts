/** What is bounded whoever asks, and that it does not meet those who only ask for much. */

import { connect, type ClientHttp2Session } from 'node:http2';
import test from 'ava';
import { SetMetadataRequest } from '../../gen/dapr/proto/runtime/v1/metadata.ts';
import { PublishEventRequest, SubscribeTopicEventsRequestAlpha1 } from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { framed } from '../../src/channels/framing.ts';
import { publish, startDaprd } from '../_support/daprd.ts';
import { until } from '../_support/until.ts';

/** Resolves with the status and the text of it. */
function call(
  session: ClientHttp2Session,
  method: string,
  message: Uint8Array,
): Promise<[status: string, text: string]> {
  return new Promise((resolve, reject) => {
    const path = `/dapr.proto.runtime.v1.Dapr/${method}`;
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
    let said = {} as Record<string, unknown>;
    stream.on('response', (headers) => (said = { ...headers }));
    stream.on('trailers', (trailers) => (said = { ...said, ...trailers }));
    stream.on('error', reject).on('close', () => resolve([String(said['grpc-status']), String(said['grpc-message'])]));
    stream.resume().end(framed([message]));
  });
}

const event = (size: number): Uint8Array =>
  PublishEventRequest.encode({
    pubsubName: 'pubsub',
    topic: 't',
    data: Buffer.alloc(size, '1'),
    dataContentType: 'text/plain',
    metadata: {},
  }).finish();

test('custom metadata has an end, over both protocols, and what is there can still be changed', async (t) => {
  const daprd = await startDaprd(t);
  const session = connect(`http://127.0.0.1:${daprd.grpcPort}`);
  t.teardown(() => session.destroy());
  const put = (key: string, body: string): Promise<Response> =>
    fetch(`${daprd.http}/v1.0/metadata/${key}`, { method: 'PUT', body });
  const set = (key: string, value: string): Promise<[string, string]> =>
    call(session, 'SetMetadata', SetMetadataRequest.encode({ key, value }).finish());
  t.is((await put('long', 'x'.repeat(200_000))).status, 204);
  const tooLong = await put('more', 'x'.repeat(100_000));
  t.is(tooLong.status, 413);
  t.like(await tooLong.json(), { errorCode: 'ERR_METADATA_FULL' });
  t.deepEqual(await set('more', 'x'.repeat(100_000)), [
    '8',
    'the metadata is not set: its keys and values may have 262144 bytes, with this one they have 300008',
  ]);
  t.is((await put('long', 'short')).status, 204);
  for (let n = 1; n < 256; n++) t.is((await set(`k${n}`, 'v'))[0], '0');
  t.is((await put('k256', 'v')).status, 413);
  t.is((await set('k256', 'v'))[0], '8');
  t.is((await put('k1', 'w')).status, 204);
  const { extended } = (await (await fetch(`${daprd.http}/v1.0/metadata`)).json()) as { extended: object };
  t.like(extended, { long: 'short', k1: 'w', k255: 'v' });
  t.false('k256' in extended);
});

test('a thousand calls at once, hundreds of streams and events as long as may be pass on one connection', async (t) => {
  const daprd = await startDaprd(t);
  const session = connect(`http://127.0.0.1:${daprd.grpcPort}`, { maxSessionMemory: 1000 });
  t.teardown(() => session.destroy());
  let [live, ended] = [0, 0];
  const initial = { pubsubName: 'pubsub', topic: 's', metadata: {}, deadLetterTopic: undefined };
  const request = { subscribeTopicEventsRequestType: { $case: 'initialRequest' as const, value: initial } };
  for (let i = 0; i < 300; i++) {
    const path = '/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1';
    const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
    stream.once('data', () => live++).on('error', () => undefined);
    stream.once('close', () => ended++);
    stream.write(framed([SubscribeTopicEventsRequestAlpha1.encode(request).finish()]));
  }
  await until(() => live === 300, 'all streams are live');
  const answers = await Promise.all(Array.from({ length: 1000 }, () => call(session, 'PublishEvent', event(10_000))));
  t.deepEqual([...new Set(answers.map(([status]) => status))], ['0']);
  const long = await Promise.all(Array.from({ length: 10 }, () => call(session, 'PublishEvent', event(4_000_000))));
  t.deepEqual([...new Set(long.map(([status]) => status))], ['0']);
  const over = await Promise.all(
    Array.from({ length: 10 }, () => publish(daprd, 't', Buffer.alloc(4_000_000, '1'), { type: 'text/plain' })),
  );
  t.deepEqual([...new Set(over.map(({ status }) => status))], [204]);
  t.is(ended, 0);
});
