/** The Go SDK: its client, its services over HTTP and gRPC, and its streams. */

import { goProgram } from '../../scripts/needs.ts';
import { publish, startDaprd } from '../_support/daprd.ts';
import { until } from '../_support/until.ts';
import { handled, ofHandler, runClient, startApp, startSubscriber, testWith } from './_program.ts';

const go = (role: string): [string, ...string[]] => [goProgram, role];
const test = testWith('go');

for (const protocol of ['http', 'grpc'] as const) {
  test(`a service of the Go SDK over ${protocol} gets what its client publishes`, async (t) => {
    const { daprd, app } = await startApp(t, go(protocol), protocol);
    const told = await runClient(t, go('client'), daprd);
    for (const what of ['object', 'text', 'bytes', 'special', 'ordinary', 'raw', 'again', 'refused']) {
      t.is(told.get(what)?.['error'], '', what);
    }
    t.regex(String(told.get('unknown')?.['error']), /InvalidArgument desc = pubsub nowhere is not found/);
    t.like(told.get('bulk'), { failed: 0, error: null });
    t.like(told.get('metadata'), { id: 'app', key: 'go' });
    const [object, text, bytes] = await handled(app, 'orders', 3);
    t.like(object, { data: { by: 'go' }, topic: 'orders', pubsubname: 'pubsub', contentType: 'application/json' });
    t.like(text, { data: 'text by go', contentType: 'text/plain' });
    t.is(bytes?.['bytes'], 'AP8H');
    t.like((await handled(app, 'special'))[0], { data: { type: 'special' }, type: 'special' });
    t.like((await handled(app, 'ordinary'))[0], { data: { type: 'ordinary' } });
    const raw = String((await handled(app, 'raw'))[0]?.['bytes']);
    t.deepEqual(JSON.parse(Buffer.from(raw, 'base64').toString()), { raw: 'go' });
    await handled(app, 'again', 2);
    t.like((await handled(app, 'dead'))[0], { data: { refused: 'go' } });
    t.deepEqual(
      (await handled(app, 'many', 3)).map(({ data }) => data),
      [{ n: 1 }, 'two', { n: 3 }],
    );
    t.is(ofHandler(app, 'refused').length, 1);
    t.is(await daprd.stop(), 0);
  });
}

test('streams of the Go SDK get events without any app, retry, drop, and close', async (t) => {
  const daprd = await startDaprd(t);
  const subscriber = await startSubscriber(t, go('stream'), daprd);
  const text = { type: 'text/plain' };
  await publish(daprd, 'iterated', 'first', text);
  await publish(daprd, 'handled', 'keep', text);
  await publish(daprd, 'handled', 'drop', text);
  await handled(subscriber, 'iterated', 2);
  await publish(daprd, 'iterated', 'last', text);
  t.deepEqual(
    (await handled(subscriber, 'iterated', 3)).map(({ data }) => data),
    ['first', 'first', 'last'],
  );
  t.deepEqual(
    (await handled(subscriber, 'handled', 2)).map(({ data }) => data),
    ['keep', 'drop'],
  );
  t.like((await handled(subscriber, 'dead'))[0], { data: 'drop' });
  subscriber.child.stdin?.end('\n');
  t.is(await subscriber.exited, 0, subscriber.noise());
  const unsubscribed = (): number => daprd.log().match(/Unsubscribed from pubsub/g)?.length ?? 0;
  await until(() => unsubscribed() === 3, 'all three are unsubscribed');
});

test('types built from reflection by the Go library, as grpcurl builds them, are sound', async (t) => {
  const daprd = await startDaprd(t);
  const told = await runClient(t, go('reflect'), daprd);
  t.is(told.get('files')?.['error'], '');
  t.true((told.get('services')?.['names'] as string[]).includes('dapr.proto.runtime.v1.Dapr'));
  t.true(Number(told.get('files')?.['maps']) >= 8);
});
