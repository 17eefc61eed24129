/** @dapr/dapr: its server as the app, over HTTP and gRPC, and its client beside it, over both. */

import { publish } from '../_support/daprd.ts';
import { folderOf, handled, ofHandler, runClient, startApp, testWith } from './_program.ts';

const node = (script: string, protocol: string): [string, ...string[]] => [
  process.execPath,
  folderOf('javascript', script),
  protocol,
];
const test = testWith('javascript');

for (const protocol of ['http', 'grpc'] as const) {
  test(`a server of the JavaScript SDK over ${protocol} gets what its clients publish over both protocols`, async (t) => {
    const { daprd, app } = await startApp(t, node('server.cjs', protocol), protocol);
    for (const via of ['http', 'grpc']) {
      const told = await runClient(t, node('client.cjs', via), daprd);
      const { error, ...unknown } = told.get('unknown') ?? {};
      t.regex(String(error), /pubsub nowhere is not found/, JSON.stringify(unknown));
      for (const what of ['object', 'text', 'bytes', 'topic with a slash', 'special', 'raw', 'again', 'refused']) {
        t.is(told.get(what)?.['error'], null, what);
      }
      t.is(told.get('bulk')?.['failed'], 0);
      t.like(told.get('metadata'), { id: 'app', components: [{ name: 'pubsub', type: 'pubsub.in-memory' }] });
      t.deepEqual(told.get('invoked')?.['answer'], { echo: JSON.stringify({ by: via }) });
      t.is(told.get('set')?.['done'], true);
    }
    const dataOf = async (name: string, count: number): Promise<unknown[]> =>
      (await handled(app, name, count)).map(({ data }) => data);
    const orders = await dataOf('orders', 6);
    t.deepEqual(orders.slice(0, 3), [{ by: 'http' }, 'text by http', 'bytes by http']);
    t.deepEqual(orders.slice(3, 6), [{ by: 'grpc' }, 'text by grpc', 'bytes by grpc']);
    t.deepEqual(await dataOf('special', 2), [{ type: 'special' }, { type: 'special' }]);
    t.deepEqual(await dataOf('ordinary', 2), [{ type: 'ordinary' }, { type: 'ordinary' }]);
    t.deepEqual(await dataOf('raw', 2), [{ raw: 'http' }, { raw: 'grpc' }]);
    const again = (await dataOf('again', 3)).map((data) => JSON.stringify(data));
    t.deepEqual([...new Set(again)].sort(), ['{"again":"grpc"}', '{"again":"http"}']);
    t.deepEqual(await dataOf('dead', 2), [{ refused: 'http' }, { refused: 'grpc' }]);
    t.is(ofHandler(app, 'refused').length, 2);
    t.deepEqual((await dataOf('many', 6)).map((data) => JSON.stringify(data)).sort(), [
      '"two"',
      '"two"',
      '{"n":1}',
      '{"n":1}',
      '{"type":"three"}',
      '{"type":"three"}',
    ]);
    if (protocol === 'http') {
      t.like(ofHandler(app, 'orders')[0], { pubsubname: 'pubsub', type: 'application/cloudevents+json' });
    }
    t.is((await publish(daprd, 'orders', 'as any publisher', { type: 'text/plain' })).status, 204);
    t.is((await dataOf('orders', 7))[6], 'as any publisher');
    t.is(await daprd.stop(), 0);
  });
}

test('with a token the clients of the JavaScript SDK get in over both protocols', async (t) => {
  const env = { DAPR_API_TOKEN: 'right' };
  const { daprd, app } = await startApp(t, node('server.cjs', 'http'), 'http', { env });
  for (const via of ['http', 'grpc']) {
    const told = await runClient(t, node('client.cjs', via), daprd, env);
    t.is(told.get('object')?.['error'], null);
    t.is(told.get('bulk')?.['failed'], 0);
  }
  await handled(app, 'many', 6);
  t.is((await publish(daprd, 'orders', 'without one')).status, 401);
});
