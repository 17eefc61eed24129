/** The Java SDK: its client, its streams, and the JDK's own HTTP client as the quickstart uses it. */

import { javaClassPath } from '../../scripts/needs.ts';
import { publish, startDaprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { folderOf, handled, runClient, startSubscriber, testWith } from './_program.ts';

const java = (role: string): [string, ...string[]] => [
  'java',
  ...['-XX:TieredStopAtLevel=1', '-cp', javaClassPath],
  folderOf('java', 'Client.java'),
  role,
];
const test = testWith('javaSdk');

test('what the client of the Java SDK publishes arrives, also by an upgrade to HTTP/2', async (t) => {
  t.timeout(300_000);
  const route = (topic: string, more: object = {}): object => ({ pubsubName: 'pubsub', topic, route: topic, ...more });
  const app = await startHttpApp({
    subscribe: [
      route('orders'),
      route('routed'),
      route('raw', { metadata: { rawPayload: 'true' } }),
      route('again'),
      route('refused'),
      route('many'),
    ],
    reply: ({ path }, nth) => (path === '/again' && nth === 1 ? 500 : 200),
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const told = await runClient(t, java('client'), daprd);
  for (const what of ['object', 'text', 'bytes', 'special', 'ordinary', 'raw', 'again', 'refused']) {
    t.is(told.get(what)?.['error'], '', what);
  }
  t.regex(String(told.get('unknown')?.['error']), /INVALID_ARGUMENT: pubsub nowhere is not found/);
  t.is(told.get('bulk')?.['failed'], 0);
  t.is(told.get('metadata')?.['id'], 'app');
  t.like(told.get('upgrade'), { status: 204, version: 'HTTP_2' });
  const at = (path: string): Record<string, unknown>[] =>
    app.received.filter((one) => one.path === path).map(({ event }) => event);
  await until(() => at('/orders').length === 5 && at('/many').length === 2, 'all arrive');
  t.like(at('/orders')[0], { data: { by: 'java' }, datacontenttype: 'application/json' });
  t.like(at('/orders')[1], { data: '"text by java"', datacontenttype: 'text/plain' });
  t.like(at('/orders')[2], { data_base64: 'AP8H' });
  t.like(at('/orders')[3], { data: { by: 'jdk' } });
  t.like(at('/orders')[4], { data: { by: 'jdk' } });
  t.deepEqual(
    at('/routed').map(({ type, data }) => [type, data]),
    [
      ['special', { type: 'special' }],
      ['ordinary', { type: 'ordinary' }],
    ],
  );
  t.is(Buffer.from(String(at('/raw')[0]?.['data_base64']), 'base64').toString(), '{"raw":"java"}');
  await until(() => at('/again').length === 2, 'what failed comes again');
});

test('a stream of the Java SDK gets events without any app, retries, and closes', async (t) => {
  t.timeout(300_000);
  const daprd = await startDaprd(t);
  const subscriber = await startSubscriber(t, java('stream'), daprd);
  // The SDK does not wait for the answer to its first message.
  await until(() => daprd.log().includes("Subscribing to pubsub 'pubsub' topic 'iterated'"), 'it is subscribed');
  await publish(daprd, 'iterated', '"first"');
  await handled(subscriber, 'iterated', 2);
  await publish(daprd, 'iterated', '"last"');
  t.deepEqual(
    (await handled(subscriber, 'iterated', 3)).map(({ data }) => data),
    ['first', 'first', 'last'],
  );
  subscriber.child.stdin?.end('\n');
  t.is(await subscriber.exited, 0, subscriber.noise());
  await until(() => daprd.log().includes("Unsubscribed from pubsub 'pubsub' topic 'iterated'"), 'it is unsubscribed');
});
