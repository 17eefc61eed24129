/** The Go SDK: its client, its services over HTTP and gRPC, and its streams. */

import { goProgram } from '../../scripts/needs.ts';
import { startDaprd } from '../_support/daprd.ts';
import { handled, ofHandler, runClient, startApp, tellOfStreams, testWith } from './_program.ts';

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

test('streams of the Go SDK get events without any app, retry, drop, and close', (t) =>
  tellOfStreams(t, go('stream'), { data: 'drop' }));

test('types built from reflection by the Go library, as grpcurl builds them, are sound', async (t) => {
  const daprd = await startDaprd(t);
  const told = await runClient(t, go('reflect'), daprd);
  t.is(told.get('files')?.['error'], '');
  t.true((told.get('services')?.['names'] as string[]).includes('dapr.proto.runtime.v1.Dapr'));
  t.true(Number(told.get('files')?.['maps']) >= 8);
});
