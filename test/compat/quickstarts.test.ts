/** Apps as the quickstarts write them, without an SDK or with the habits of SDKs that cannot be fetched here. */

import test from 'ava';
import { componentFile, publish, startDaprd, temporaryDirectory } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { folderOf, handled, runClient, startApp, testWith } from './_program.ts';

const node = (script: string): [string, ...string[]] => [process.execPath, folderOf('quickstarts', script)];

testWith('javascript')(
  'checkout and order processor meet through the embedded broker, each with its sidecar',
  async (t) => {
    const directory = await temporaryDirectory(t);
    const component = componentFile('pubsub.sqlite').replace('name: pubsub', 'name: orderpubsub');
    const shared = { directory, resources: { 'orderpubsub.yaml': component } };
    const { app } = await startApp(t, node('order-processor.cjs'), 'http', { ...shared, appId: 'order-processor' });
    const checkout = await startDaprd(t, { ...shared, appId: 'checkout' });
    const told = await runClient(t, node('checkout.cjs'), checkout);
    t.deepEqual([...new Set([...told.values()].map(({ status }) => status))], [204]);
    const orderIds = (await handled(app, 'orders', 10)).map(({ data }) => (data as { orderId: number }).orderId);
    t.deepEqual(
      orderIds.toSorted((a, b) => a - b),
      [...Array(10).keys()].map((i) => i + 1),
    );
  },
);

/** What `GET /dapr/subscribe` of an app says, and what it answers to an event. */
const HABITS: Readonly<Record<string, { subscribe: unknown; reply: { status: number; body: string } }>> = {
  'ASP.NET Core': {
    subscribe: [{ topic: 'orders', pubsubName: 'pubsub', route: 'orders' }],
    reply: { status: 200, body: '{"orderId":1}' },
  },
  'ASP.NET Core with rules and bulk options that are off': {
    subscribe: [
      {
        topic: 'orders',
        pubsubName: 'pubsub',
        routes: { rules: [{ match: 'event.type == "none"', path: 'none' }], default: 'orders' },
        metadata: { rawPayload: 'false' },
        bulkSubscribe: { enabled: false, maxMessagesCount: 100, maxAwaitDurationMs: 40 },
      },
    ],
    reply: { status: 200, body: '' },
  },
  Spring: {
    subscribe: [
      {
        pubsubName: 'pubsub',
        topic: 'orders',
        route: 'orders',
        routes: null,
        metadata: {},
        deadLetterTopic: '',
        bulkSubscribe: null,
      },
    ],
    reply: { status: 200, body: 'SUCCESS' },
  },
  'the Java quickstart': {
    subscribe: [{ pubSubName: 'pubsub', topic: 'orders', route: 'orders' }],
    reply: { status: 200, body: 'null' },
  },
  'the Go quickstart': {
    subscribe: [{ pubsubName: 'pubsub', topic: 'orders', route: '/orders' }],
    reply: { status: 200, body: '"orders"' },
  },
};

for (const [name, { subscribe, reply }] of Object.entries(HABITS)) {
  test(`an app with the habits of ${name} gets each event once`, async (t) => {
    const app = await startHttpApp({ subscribe, reply: () => reply });
    t.teardown(() => app.close());
    const daprd = await startDaprd(t, { appPort: app.port });
    for (const orderId of [1, 2, 3]) t.is((await publish(daprd, 'orders', { orderId })).status, 204);
    await until(() => app.received.length >= 3, 'all arrive');
    t.is(await daprd.stop(), 0);
    t.deepEqual(
      app.received.map(({ path, event }) => [path, event['data']]),
      [1, 2, 3].map((orderId) => ['/orders', { orderId }]),
    );
  });
}
