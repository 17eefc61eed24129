import test, { type ExecutionContext } from 'ava';
import { memoryBroker } from '../../../../src/brokers/memory/broker.ts';
import type { Broker, InboundMessage, OutboundMessage, Outcome } from '../../../../src/core/broker.ts';
import type { Log } from '../../../../src/lib/log.ts';
import { until } from '../../../_support/until.ts';

const log: Log = { debug() {}, info() {}, warn() {}, error() {}, scoped: () => log };
const SUCCESS: Outcome = { kind: 'success' };
const NEVER = new AbortController().signal;

async function open(t: ExecutionContext, settings = {}, consumerIdGiven = false): Promise<Broker> {
  const who = { name: 'pubsub', appId: 'a', consumerId: 'a', consumerIdGiven };
  const context = { ...who, home: '/nowhere', log, initSignal: NEVER };
  const broker = await memoryBroker.open(settings, context);
  t.teardown(() => broker.close());
  return broker;
}

const message = (content: string): OutboundMessage => ({
  data: Buffer.from(content),
  contentType: 'text/plain',
  metadata: { a: 'b' },
});

const gather =
  (list: InboundMessage[], outcome: Outcome = SUCCESS) =>
  async (one: InboundMessage) => {
    list.push(one);
    return outcome;
  };

test('without a consumerID each subscription gets its own copy, with one they share', async (t) => {
  for (const [given, total] of [
    [false, 20],
    [true, 10],
  ] as const) {
    const broker = await open(t, {}, given);
    const seen: InboundMessage[] = [];
    await broker.subscribe('t', { metadata: {} }, gather(seen));
    await broker.subscribe('t', { metadata: {} }, gather(seen));
    await broker.publish(
      't',
      Array.from({ length: 10 }, (_, index) => message(String(index))),
    );
    await until(async () => (await broker.stats('t')).pending + (await broker.stats('t')).lag === 0, 'all is settled');
    t.is(seen.length, total);
  }
});

test('of two subscriptions to a topic either can be closed without the other', async (t) => {
  const broker = await open(t);
  const seen: InboundMessage[][] = [[], []];
  const [first] = await Promise.all(seen.map((list) => broker.subscribe('t', { metadata: {} }, gather(list))));
  await first?.close(NEVER);
  await broker.publish('t', [message('x')]);
  await until(() => seen[1]?.length === 1, 'the other got it');
  t.is(seen[0]?.length, 0);
});

test('a message that nobody subscribes to vanishes', async (t) => {
  const broker = await open(t, {}, true);
  t.deepEqual(await broker.publish('t', [message('early')]), []);
  const seen: InboundMessage[] = [];
  await broker.subscribe('t', { metadata: {} }, gather(seen));
  await broker.publish('t', [message('late')]);
  await until(() => seen.length > 0, 'the later one arrived');
  t.deepEqual(
    seen.map(({ data }) => data.toString()),
    ['late'],
  );
});

test('what a group has not settled waits for its next subscription, and so does what comes meanwhile', async (t) => {
  const broker = await open(t, {}, true);
  const subscription = await broker.subscribe('t', { metadata: {} }, () => new Promise(() => undefined));
  await broker.publish('t', [message('held'), message('queued')]);
  await until(async () => (await broker.stats('t')).pending === 1, 'one is in hand');
  await subscription.close(AbortSignal.abort());
  await broker.publish('t', [message('meanwhile')]);
  const seen: InboundMessage[] = [];
  await broker.subscribe('t', { metadata: {} }, gather(seen));
  await until(() => seen.length === 3, 'all came');
  t.deepEqual(
    seen.map(({ data, attempt }) => `${data} ${attempt}`),
    ['held 2', 'queued 1', 'meanwhile 1'],
  );
});

test('bytes and metadata are handed on without a copy', async (t) => {
  const broker = await open(t);
  const seen: InboundMessage[] = [];
  for (let i = 0; i < 2; i++) await broker.subscribe('t', { metadata: {} }, gather(seen));
  const published = message('x');
  await broker.publish('t', [published]);
  await until(() => seen.length === 2, 'both have it');
  for (const { data, metadata, contentType } of seen) {
    t.is(data, published.data);
    t.is(metadata, published.metadata);
    t.is(contentType, 'text/plain');
  }
});

test('a publisher does not wait for handlers, and a full subscription refuses what comes beyond', async (t) => {
  const broker = await open(t, { maxMessages: '2' });
  const { promise: gate, resolve: release } = Promise.withResolvers<Outcome>();
  await broker.subscribe('t', { metadata: {} }, () => gate);
  const failures = await broker.publish('t', ['1', '2', '3', '4'].map(message));
  t.deepEqual(
    failures.map(({ index }) => index),
    [2, 3],
  );
  t.is(failures[0]?.error.message, 'the subscription to t has not handled 2 messages yet');
  t.deepEqual(await broker.publish('other', [message('x')]), []);
  release(SUCCESS);
  await until(async () => (await broker.publish('t', [message('5')])).length === 0, 'there is room again');
});

test('a message that fails lets the ones behind it pass, one at a time', async (t) => {
  const broker = await open(t);
  const seen: string[] = [];
  await broker.subscribe('t', { metadata: {} }, async ({ data, attempt }) => {
    seen.push(`${data} ${attempt}`);
    return data.toString() === '1' && attempt === 1 ? { kind: 'retry', afterMs: 300 } : SUCCESS;
  });
  await broker.publish('t', ['1', '2', '3'].map(message));
  await until(() => seen.length === 4, 'it came again');
  t.deepEqual(seen, ['1 1', '2 1', '3 1', '1 2']);
});

test('a retry after weeks does not come at once', async (t) => {
  const broker = await open(t);
  const seen: InboundMessage[] = [];
  await broker.subscribe('t', { metadata: {} }, gather(seen, { kind: 'retry', afterMs: 2 ** 32 }));
  await broker.publish('t', [message('x')]);
  const end = performance.now() + 50;
  await until(() => performance.now() > end && seen.length > 0, 'a while was over');
  t.is(seen.length, 1);
});
