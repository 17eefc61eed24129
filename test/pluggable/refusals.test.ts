import { credentials, status, type ServiceError } from '@grpc/grpc-js';
import test from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { publish, type Daprd } from '../_support/daprd.ts';
import { call } from '../parity/_sidecar.ts';
import { site } from './_site.ts';

const bulk = (daprd: Daprd, topic: string, events: readonly string[]): Promise<Response> =>
  fetch(`${daprd.http}/v1.0/publish/bulk/pubsub/${topic}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(events.map((event) => ({ entryId: event, event, contentType: 'text/plain' }))),
  });

test('what the component refuses of a bulk publish is named, and the rest is stored', async (t) => {
  for (const features of [['BULK_PUBSUB'], []]) {
    const { plugin: start, daprd: launch } = await site(t);
    const plugin = await start({
      features,
      refuse: (_, data) => (data.includes('"bad"') ? status.RESOURCE_EXHAUSTED : 0),
    });
    const daprd = await launch();
    const response = await bulk(daprd, 'some', ['good', 'bad', 'fine']);
    const { failedEntries } = (await response.json()) as { failedEntries: { entryId: string; error: string }[] };
    t.is(response.status, 500);
    t.deepEqual(
      failedEntries.map(({ entryId }) => entryId),
      ['bad'],
    );
    t.regex(failedEntries[0]?.error ?? '', /refused by the test/);
    t.deepEqual(JSON.parse(response.headers.get('metadata.responseData') ?? '').failedEntries, failedEntries);
    t.regex(response.headers.get('metadata.error') ?? '', /^api error: code = Internal desc = error when publishing/);
    t.is(plugin.of(features.length > 0 ? 'bulk' : 'publish').length, features.length > 0 ? 1 : 3);
    await daprd.stop();
  }
});

test('what the component refuses is INTERNAL over gRPC and 500 over HTTP, whatever its code', async (t) => {
  const { plugin: start, daprd: launch } = await site(t);
  await start({ refuse: (topic) => Number(topic) });
  const daprd = await launch();
  const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
  t.teardown(() => client.close());
  for (const code of [status.NOT_FOUND, status.UNAVAILABLE, status.INVALID_ARGUMENT]) {
    const topic = String(code);
    const message = `error when publishing to topic ${topic} in pubsub pubsub: `;
    const overHttp = await publish(daprd, topic, '1');
    t.is(overHttp.status, 500);
    const body = (await overHttp.json()) as { errorCode: string; message: string };
    t.is(body.errorCode, 'ERR_PUBSUB_PUBLISH_MESSAGE');
    t.true(body.message.startsWith(message), body.message);
    const event = { pubsubName: 'pubsub', topic, data: Buffer.from('1'), dataContentType: '', metadata: {} };
    const error = (await t.throwsAsync(call(client, 'publishEvent', event))) as ServiceError;
    t.is(error.code, status.INTERNAL);
    t.true(error.details.startsWith(message), error.details);
  }
});
