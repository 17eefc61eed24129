import { join } from 'node:path';
import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { pluggableBroker } from '../../src/brokers/pluggable/broker.ts';
import type { Broker } from '../../src/core/broker.ts';
import type { Log } from '../../src/lib/log.ts';
import { temporaryDirectory } from '../_support/daprd.ts';
import { Plugin, type PluginOptions } from '../_support/plugin.ts';
import { until } from '../_support/until.ts';
import { memoryLog } from '../unit/config/_support.ts';
import { contextOf, publish, Recorder, retry, subscribe, SUCCESS, text, texts, textOf } from '../conformance/bench.ts';

interface Pair {
  readonly broker: Broker;
  readonly plugin: Plugin;
  readonly log: readonly string[];
  /** Ends the component, and gives one that serves the same socket. */
  restart(): Promise<Plugin>;
}

async function pair(t: ExecutionContext, options: Partial<PluginOptions> = {}, name = 'pubsub'): Promise<Pair> {
  const folder = await temporaryDirectory(t);
  const all = { socket: join(folder, 'x.sock'), journal: join(folder, 'journal'), ...options };
  let plugin = await Plugin.start(all);
  t.teardown(() => plugin.stop());
  const factory = await pluggableBroker('pubsub.x', folder);
  const lines: string[] = [];
  const add = (line: string): void => void lines.push(line);
  const log: Log = { debug() {}, info: add, warn: add, error: add, scoped: () => log };
  const broker = await factory?.open({ concurrency: '4' }, { ...contextOf('app', ''), name, log });
  if (!broker) throw new Error('there is no such broker');
  t.teardown(() => broker.close());
  const restart = async (): Promise<Plugin> => {
    plugin.stop();
    return (plugin = await Plugin.start(all));
  };
  return { broker, plugin, log: lines, restart };
}

test('a publish waits a moment for a component that is being started anew, and comes after its Init', async (t) => {
  const { broker, log, restart, ...first } = await pair(t);
  let plugin = first.plugin;
  // A machine that is busy takes longer to start the component than a publish waits.
  const served = await until(
    async () => {
      const told = log.filter((line) => line.includes('cannot be reached')).length;
      plugin.stop();
      await until(() => log.filter((line) => line.includes('cannot be reached')).length > told, 'the loss is noticed');
      const publishing = broker.publish('soon', [text('a'), text('b')]);
      plugin = await restart();
      const failures = await publishing;
      await until(() => log.filter((line) => line.includes('is back')).length > told, 'its return is noticed');
      return failures.length === 0;
    },
    'a publish that began before the component succeeds',
    60_000,
  );
  t.true(served);
  t.deepEqual(
    plugin.events.map(({ kind }) => kind),
    ['init', 'publish', 'publish'],
  );
});

test('a publish that finds nobody fails, the whole list at once', async (t) => {
  const { broker, plugin } = await pair(t);
  plugin.stop();
  const began = performance.now();
  const failures = await broker.publish('gone', texts('m', 50).map(text));
  t.is(failures.length, 50);
  t.like(failures[49]?.error, { code: 14 });
  // Each alone would wait for two seconds.
  t.true(performance.now() - began < 20_000);
});

test('attempts go on counting over a restart of the component, by the id and the bytes', async (t) => {
  const { broker, restart } = await pair(t);
  const recorder = new Recorder((message) => (message.attempt < 3 ? retry(0) : retry(Infinity)));
  await subscribe(broker, 'count', recorder);
  await publish(broker, 'count', 'x');
  await until(async () => (await broker.stats('count')).parked === 1, 'it is parked');
  await restart();
  await until(() => recorder.messages.length === 4, 'it came again');
  t.deepEqual(
    recorder.messages.map(({ attempt }) => attempt),
    [1, 2, 3, 4],
  );
});

test('with a thousand messages in hand nothing more is read, and all are handled in the end', async (t) => {
  const { broker, plugin } = await pair(t, { window: 1_000_000 });
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const recorder = new Recorder(() => gate.then(() => SUCCESS));
  await subscribe(broker, 'flood', recorder);
  const all = texts('m', 3000);
  for (let from = 0; from < all.length; from += 500) await publish(broker, 'flood', ...all.slice(from, from + 500));
  await until(async () => (await broker.stats('flood')).lag >= 996, 'a thousand are in hand');
  await broker.ping();
  const { lag, pending } = await broker.stats('flood');
  t.is(plugin.of('sent').length, 3000);
  t.true(lag + pending < 1100, `${lag} and ${pending}`);
  open();
  await until(() => plugin.of('ack').length === 3000, 'all are acknowledged');
  t.deepEqual(recorder.texts.toSorted(), all.toSorted());
});

test('a component without reflection, Ping and Features works; a name beyond ASCII is escaped', async (t) => {
  const lacks = ['Ping', 'Features'];
  const { broker, plugin } = await pair(t, { noReflection: true, lacks }, 'шина 1');
  const recorder = new Recorder();
  await subscribe(broker, 'plain', recorder);
  await publish(broker, 'plain', 'x');
  await until(() => plugin.of('ack').length === 1, 'it is acknowledged');
  t.is(plugin.of('init')[0]?.instance, '%D1%88%D0%B8%D0%BD%D0%B0 1');
  t.deepEqual([...broker.features], []);
});

test('a subscription that the component refuses is not open', async (t) => {
  const { broker } = await pair(t, { lacks: ['PullMessages'] });
  await t.throwsAsync(subscribe(broker, 'x', new Recorder()), { message: /unable to subscribe: .*Unimplemented/ });
});

test('a broker that waits for its component can be closed', async (t) => {
  const { broker, plugin } = await pair(t);
  const subscription = await subscribe(broker, 'x', new Recorder());
  plugin.stop();
  const failures = broker.publish('x', [text('a')]);
  await subscription.close(AbortSignal.abort());
  await broker.close();
  t.is((await failures).length, 1);
});

test('a message as large as a publish may be passes both ways', async (t) => {
  const { broker } = await pair(t);
  const recorder = new Recorder();
  await subscribe(broker, 'large', recorder);
  const content = 'x'.repeat(6 * 2 ** 20);
  const failures = await broker.publish('large', [text(content)]);
  // The component of the tests takes 4 MiB, the general library's default; the sidecar itself has no limit.
  t.is(failures.length, 1);
  await publish(broker, 'large', 'y'.repeat(4_000_000));
  await until(() => recorder.messages.length === 1, 'it arrives');
  t.is(textOf(recorder.messages[0] ?? t.fail()).length, 4_000_000);
});

test('a component that sends nonsense, or ends every stream at once, is asked again with growing pauses', async (t) => {
  const folder = await temporaryDirectory(t);
  const server = new Server();
  t.teardown(() => server.forceShutdown());
  const answers = [Buffer.from([0x0a, 0xff, 0xff]), Buffer.from([0xff]), Buffer.from([0x2a, 0x01, 0x78])];
  let streams = 0;
  const asIs = (bytes: Buffer): Buffer => bytes;
  const definition = Object.fromEntries(
    ['Init', 'Ping', 'PullMessages'].map((name) => {
      const isStream = name === 'PullMessages';
      const path = `/dapr.proto.components.v1.PubSub/${name}`;
      const codecs = {
        requestSerialize: asIs,
        requestDeserialize: asIs,
        responseSerialize: asIs,
        responseDeserialize: asIs,
      };
      return [name, { path, requestStream: isStream, responseStream: isStream, ...codecs }];
    }),
  );
  const empty = (_call: unknown, answer: (error: null, bytes: Buffer) => void): void => answer(null, Buffer.alloc(0));
  server.addService(definition, {
    Init: empty,
    Ping: empty,
    PullMessages: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.write(answers[streams++ % answers.length] as Buffer);
      setTimeout(() => call.end(), 20);
    },
  });
  const credentials = ServerCredentials.createInsecure();
  await new Promise((resolve) => server.bindAsync(`unix:${join(folder, 'x.sock')}`, credentials, resolve));
  const log = memoryLog();
  const factory = await pluggableBroker('pubsub.x', folder);
  const broker = await factory?.open({}, { ...contextOf('app', ''), log });
  if (!broker) throw new Error('there is no such broker');
  t.teardown(() => broker.close());
  const recorder = new Recorder();
  const began = performance.now();
  await until(() => subscribe(broker, 'x', recorder).then(Boolean, () => false), 'it is open for a moment');
  await until(() => recorder.messages.length >= 1, 'a message among the nonsense arrives');
  const [message] = recorder.messages;
  t.like(message, { id: 'x', topic: 'x', attempt: 1 });
  t.true(streams < 20 + (performance.now() - began) / 100, `${streams} streams`);
  t.true(log.lines.length <= streams);
});
