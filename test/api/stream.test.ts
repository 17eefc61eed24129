import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata, type ClientDuplexStream, type ServiceError } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import type { TopicEventRequest } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import type {
  SubscribeTopicEventsRequestAlpha1,
  SubscribeTopicEventsRequestInitialAlpha1,
  SubscribeTopicEventsResponseAlpha1,
} from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { componentFile, MEMORY, publish, startDaprd, type Daprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

type Request = SubscribeTopicEventsRequestAlpha1;

/** The client's end of a stream. */
class Subscriber {
  readonly events: TopicEventRequest[] = [];
  isLive = false;
  error: ServiceError | undefined;
  readonly call: ClientDuplexStream<Request, SubscribeTopicEventsResponseAlpha1>;

  constructor(t: ExecutionContext, daprd: Daprd, onEvent: (event: TopicEventRequest, self: Subscriber) => void = ack) {
    const client = new DaprClient(`127.0.0.1:${daprd.grpcPort}`, credentials.createInsecure());
    t.teardown(() => client.close());
    this.call = client.subscribeTopicEventsAlpha1(new Metadata());
    this.call.on('error', (error: ServiceError) => (this.error = error));
    this.call.on('data', ({ subscribeTopicEventsResponseType: response }: SubscribeTopicEventsResponseAlpha1) => {
      if (response?.$case === 'initialResponse') this.isLive = true;
      if (response?.$case !== 'eventMessage') return;
      this.events.push(response.value);
      onEvent(response.value, this);
    });
  }

  subscribe(given: Partial<SubscribeTopicEventsRequestInitialAlpha1>): this {
    const value = { pubsubName: 'pubsub', topic: 't', metadata: {}, deadLetterTopic: undefined, ...given };
    this.call.write({ subscribeTopicEventsRequestType: { $case: 'initialRequest', value } });
    return this;
  }

  answer(id: string, status: 0 | 1 | 2): void {
    const value = { id, status: { status } };
    this.call.write({ subscribeTopicEventsRequestType: { $case: 'eventProcessed', value } });
  }

  async live(): Promise<this> {
    await until(() => this.isLive, 'the subscription is live');
    return this;
  }
}

const ack = ({ id }: TopicEventRequest, self: Subscriber): void => self.answer(id, 0);

test('a stream gets events without any app, in order, and is listed', async (t) => {
  const daprd = await startDaprd(t);
  const subscriber = await new Subscriber(t, daprd).subscribe({}).live();
  for (let i = 0; i < 50; i++) await publish(daprd, 't', i);
  await until(() => subscriber.events.length === 50, 'all arrive');
  t.deepEqual(
    subscriber.events.map(({ data }) => Number(Buffer.from(data).toString())),
    [...Array(50).keys()],
  );
  t.like(subscriber.events[0], { path: '/', topic: 't', pubsubName: 'pubsub' });
  const metadata = (await (await fetch(`${daprd.http}/v1.0/metadata`)).json()) as { subscriptions: unknown[] };
  t.deepEqual(metadata.subscriptions, [
    { pubsubname: 'pubsub', topic: 't', rules: [{ path: '/' }], deadLetterTopic: '', type: 'STREAMING' },
  ]);
});

for (const [name, write, message] of [
  ['the first message is none', (s: Subscriber) => s.answer('x', 0), 'initial request is required'],
  ['the component has no name', (s: Subscriber) => s.subscribe({ pubsubName: '' }), 'pubsubName is required'],
  ['the topic has no name', (s: Subscriber) => s.subscribe({ topic: '' }), 'topic is required'],
  ['the component is unknown', (s: Subscriber) => s.subscribe({ pubsubName: 'nope' }), 'pubsub nope is not found'],
  [
    'a second initial request comes',
    (s: Subscriber) => s.subscribe({}).subscribe({}),
    'duplicate initial request received',
  ],
] as [string, (s: Subscriber) => void, string][]) {
  test(`a stream ends with an error when ${name}`, async (t) => {
    const subscriber = new Subscriber(t, await startDaprd(t));
    write(subscriber);
    const error = await until(() => subscriber.error, 'the stream ends');
    t.is(error.details, message);
    t.is(error.code, message.includes('not found') ? 3 : 2);
  });
}

test('an event that was retried comes again; one that was dropped goes to the dead-letter topic', async (t) => {
  const daprd = await startDaprd(t);
  let tries = 0;
  const subscriber = await new Subscriber(t, daprd, ({ id, data }, self) =>
    self.answer(id, Buffer.from(data).toString() === '"drop"' ? 2 : tries++ === 0 ? 1 : 0),
  )
    .subscribe({ deadLetterTopic: '' })
    .live();
  await publish(daprd, 't', '"retry"');
  await until(() => subscriber.events.length === 2, 'it comes again');
  t.is(subscriber.events[0]?.id, subscriber.events[1]?.id);

  const dead = await new Subscriber(t, daprd).subscribe({ topic: 'dead' }).live();
  const other = await new Subscriber(t, daprd, ({ id }, self) => self.answer(id, 2))
    .subscribe({ topic: 'u', deadLetterTopic: 'dead' })
    .live();
  await publish(daprd, 'u', '"drop"');
  await until(() => dead.events.length === 1, 'the dead letter arrives');
  t.is(other.events.length, 1);
  const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${daprd.metricsPort}/`)).text();
  await until(
    async () => (await scrape()).includes('process_status="drop",status="drop",topic="u"} 1'),
    'DROP of a stream is counted as such, which DROP of an app is not',
  );
});

test('answers may come late, out of order, and for nobody', async (t) => {
  const daprd = await startDaprd(t, {
    resources: { 'p.yaml': componentFile('pubsub.in-memory', { concurrency: '10' }) },
  });
  const subscriber = await new Subscriber(t, daprd, () => undefined).subscribe({}).live();
  for (let i = 0; i < 3; i++) await publish(daprd, 't', i);
  await until(() => subscriber.events.length === 3, 'three are in hand');
  subscriber.answer('nobody', 0);
  for (const { id } of [...subscriber.events].reverse()) subscriber.answer(id, 0);
  await publish(daprd, 't', 3);
  await until(() => subscriber.events.length === 4, 'a fourth arrives');
  t.true(
    await until(
      () => daprd.log().includes('no client stream expecting publish response for id nobody'),
      'it is logged',
    ),
  );
});

test('what a stream left unanswered goes to the next one', async (t) => {
  const daprd = await startDaprd(t, { resources: { 'p.yaml': componentFile('pubsub.sqlite') } });
  const first = await new Subscriber(t, daprd, () => undefined).subscribe({}).live();
  await publish(daprd, 't', '1');
  await until(() => first.events.length === 1, 'it is in hand');
  first.call.cancel();
  const second = await new Subscriber(t, daprd).subscribe({}).live();
  await until(() => second.events.length === 1, 'it goes to the next');
  t.is(second.events[0]?.id, first.events[0]?.id);
});

test('half-closing ends the subscription and the call', async (t) => {
  const daprd = await startDaprd(t);
  const subscriber = await new Subscriber(t, daprd).subscribe({}).live();
  subscriber.call.end();
  const error = await until(() => subscriber.error, 'the stream ends');
  t.deepEqual([error.code, error.details], [2, 'EOF']);
  await until(() => daprd.log().includes("Unsubscribed from pubsub 'pubsub' topic 't'"), 'it is unsubscribed');
});

test('a stop ends streams, and idle ones do not delay it', async (t) => {
  const daprd = await startDaprd(t, { args: ['--dapr-graceful-shutdown-seconds', '60'] });
  const subscriber = await new Subscriber(t, daprd).subscribe({}).live();
  const idle = new Subscriber(t, daprd);
  const started = performance.now();
  t.is(await daprd.stop(), 0);
  t.true(performance.now() - started < 20_000);
  await until(() => subscriber.error && idle.error, 'both clients hear of it');
  t.true([2, 14].includes(subscriber.error?.code ?? 0), String(subscriber.error));
});

test('an event of the size that publishing allows does not end a stream that cannot carry it', async (t) => {
  const daprd = await startDaprd(t);
  const subscriber = await new Subscriber(t, daprd).subscribe({}).live();
  t.is((await publish(daprd, 't', 'x'.repeat(4 << 20), { type: 'text/plain' })).status, 204);
  await until(() => daprd.log().includes('longer than a message'), 'it fails');
  await publish(daprd, 't', '1');
  await until(() => subscriber.events.length === 1, 'the next one arrives');
  t.is(subscriber.error, undefined);
});

const QUICK = `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: quick
spec:
  policies:
    timeouts: { quick: 200ms }
    retries: { again: { policy: constant, duration: 10ms, maxRetries: -1 } }
  targets:
    components:
      pubsub: { inbound: { timeout: quick, retry: again } }
`;

test('an event that is given up again and again does not pile up for a client that does not read', async (t) => {
  const daprd = await startDaprd(t, { resources: { 'p.yaml': MEMORY, 'r.yaml': QUICK } });
  const subscriber = await new Subscriber(t, daprd).subscribe({}).live();
  subscriber.call.pause();
  await publish(daprd, 't', 'x'.repeat(1 << 20), { type: 'text/plain' });
  const givenUp = (): number => daprd.log().split('context deadline exceeded').length - 1;
  await until(() => givenUp() >= 40, 'it is given up many times', 60_000);
  subscriber.call.resume();
  await publish(daprd, 't', '1');
  await until(() => subscriber.events.some(({ data }) => data.length === 1), 'what was published last arrives');
  t.true(subscriber.events.length < 40, `${subscriber.events.length}`);
});

test('a stream that was opened while its component was on its way out is told that it is over', async (t) => {
  let release: () => void = () => undefined;
  const held = new Promise<number>((resolve) => (release = () => resolve(200)));
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'held', route: '/' }],
    reply: () => held,
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  const first = await new Subscriber(t, daprd).subscribe({}).live();
  await publish(daprd, 'held', '1');
  await until(() => app.received.length === 1, 'an event is in hand');
  const file = join(daprd.directory, 'resources-app', 'pubsub.yaml');
  await writeFile(file, componentFile('pubsub.in-memory', { concurrency: '2' }));
  await until(() => first.error, 'the stream is closed');
  const second = await new Subscriber(t, daprd).subscribe({}).live();
  release();
  await until(() => daprd.log().includes('Component updated'), 'the new component is there');
  await until(() => second.error, 'the stream is closed too');
  t.is(second.error?.details, 'stream closed');
  const third = await new Subscriber(t, daprd).subscribe({}).live();
  await publish(daprd, 't', '1');
  await until(() => third.events.length === 1, 'an event arrives');
});
