/** The Python SDK: its client, its gRPC server, its extensions for FastAPI and Flask, and its streams. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sdkPython } from '../../scripts/needs.ts';
import { componentFile, publish, startDaprd } from '../_support/daprd.ts';
import { freePorts } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import {
  folderOf,
  handled,
  ofHandler,
  runClient,
  startApp,
  startSubscriber,
  tellOfStreams,
  testWith,
} from './_program.ts';

const python = (script: string): [string, ...string[]] => [sdkPython, folderOf('python', script)];
const test = testWith('python');

test('a gRPC app of the Python SDK gets what its client publishes', async (t) => {
  const { daprd, app } = await startApp(t, python('grpc_app.py'), 'grpc');
  const told = await runClient(t, python('client.py'), daprd);
  for (const what of ['object', 'text', 'bytes', 'special', 'ordinary', 'raw', 'again', 'refused']) {
    t.is(told.get(what)?.['error'], null, what);
  }
  t.like(told.get('unknown'), {
    error: 'pubsub nowhere is not found',
    code: 'INVALID_ARGUMENT',
    reason: 'DAPR_PUBSUB_NOT_FOUND',
  });
  t.like(told.get('empty topic'), { code: 'INVALID_ARGUMENT', reason: 'DAPR_PUBSUB_TOPIC_NAME_EMPTY' });
  t.is(told.get('bulk')?.['failed'], 0);
  t.like(told.get('metadata'), { id: 'app', key: 'python' });
  const [object, text, bytes] = await handled(app, 'orders', 3);
  t.like(object, { data: { by: 'python' }, topic: 'orders', pubsubname: 'pubsub', type: 'com.dapr.event.sent' });
  t.like(text, { data: 'text by python' });
  t.deepEqual(bytes?.['bytes'], [0, 255, 7]);
  t.like((await handled(app, 'special'))[0], { data: { type: 'special' }, type: 'special' });
  t.like((await handled(app, 'ordinary'))[0], { data: { type: 'ordinary' } });
  t.like((await handled(app, 'odd'))[0], { data: 'odd', e: 'f' }); // what gRPC does not allow was left out
  const raw = (await handled(app, 'raw'))[0]?.['bytes'] as number[];
  t.is(Buffer.from(raw).toString(), '{"raw": "python"}');
  await handled(app, 'again', 2);
  t.like((await handled(app, 'dead'))[0], { data: { refused: 'python' }, topic: 'dead', original: 'refused' });
  t.deepEqual(
    (await handled(app, 'many', 3)).map(({ data }) => data),
    [{ n: 0 }, { n: 1 }, { n: 2 }],
  );
  t.is(ofHandler(app, 'refused').length, 1);
});

test('an app on FastAPI gets what the client publishes, every member that its model wants among it', async (t) => {
  const { daprd, app } = await startApp(t, python('fastapi_app.py'), 'http');
  await runClient(t, python('client.py'), daprd);
  const [object, text, bytes] = await handled(app, 'orders', 3);
  t.like(object, {
    data: { by: 'python' },
    topic: 'orders',
    pubsubname: 'pubsub',
    datacontenttype: 'application/json',
  });
  t.like(text, { data: 'text by python', datacontenttype: 'text/plain' });
  t.like(bytes, { data_base64: 'AP8H' });
  const [raw] = await handled(app, 'raw');
  t.is(Buffer.from(raw?.['data_base64'] as string, 'base64').toString(), '{"raw": "python"}');
  await handled(app, 'again', 2);
  t.like((await handled(app, 'dead'))[0], { data: { refused: 'python' }, topic: 'refused' });
  await handled(app, 'many', 3);
  await publish(daprd, 'strict', { orderId: 1 });
  await publish(daprd, 'strict', 'text', { type: 'text/plain' });
  t.deepEqual(
    (await handled(app, 'strict', 2)).map(({ data }) => data),
    [{ orderId: 1 }, 'text'],
  );
});

test('an app on Flask gets what the client publishes, and an independent library reads it as CloudEvents', async (t) => {
  const { daprd, app } = await startApp(t, python('flask_app.py'), 'http');
  await runClient(t, python('client.py'), daprd);
  const [object, text, bytes] = await handled(app, 'orders', 3);
  t.like(object, { data: { by: 'python' }, topic: 'orders', pubsubname: 'pubsub', type: 'com.dapr.event.sent' });
  t.like(text, { data: 'text by python', datacontenttype: 'text/plain' });
  t.deepEqual(bytes?.['data'], [0, 255, 7]);
  const [raw] = await handled(app, 'raw');
  t.like(raw, { data: { raw: 'python' }, datacontenttype: 'application/octet-stream' });
  await handled(app, 'again', 2);
  t.like((await handled(app, 'dead'))[0], { data: { refused: 'python' }, topic: 'refused' });
  await handled(app, 'many', 3);
});

test('streams of the Python SDK get events without any app, retry, drop, and close', (t) =>
  tellOfStreams(t, python('stream.py'), { data: 'drop', original: 'handled' }));

test('a stream of the Python SDK goes on when its component is exchanged and when its sidecar starts anew', async (t) => {
  const [http, grpc] = (await freePorts(2)) as [number, number];
  const args = ['--dapr-http-port', String(http), '--dapr-grpc-port', String(grpc)];
  const daprd = await startDaprd(t, { args });
  const subscriber = await startSubscriber(t, python('stream.py'), daprd);
  const live = (): number => daprd.log().match(/Subscribing to pubsub 'pubsub' topic 'iterated'/g)?.length ?? 0;
  const edited = componentFile('pubsub.in-memory', { concurrency: '2' });
  await writeFile(join(daprd.directory, 'resources-app', 'pubsub.yaml'), edited);
  await until(() => live() === 2, 'it has subscribed again', 60_000);
  process.kill(daprd.pid, 'SIGHUP');
  await until(() => live() === 3, 'it has subscribed once more', 60_000);
  await publish(daprd, 'iterated', 'retried', { type: 'text/plain' });
  await handled(subscriber, 'iterated', 2);
  await publish(daprd, 'iterated', 'last', { type: 'text/plain' });
  t.deepEqual(
    (await handled(subscriber, 'iterated', 3)).map(({ data }) => data),
    ['retried', 'retried', 'last'],
  );
  subscriber.child.stdin?.end('\n');
  t.is(await subscriber.exited, 0, subscriber.noise());
});
