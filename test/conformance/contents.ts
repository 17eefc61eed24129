/** What arrives, and in which order. */

import { until } from '../_support/until.ts';
import {
  publish,
  Recorder,
  subscribe,
  SUCCESS,
  retry,
  text,
  texts,
  textOf,
  type Declare,
  type Harness,
} from './bench.ts';

export function contents(declare: Declare, { abilities }: Harness): void {
  declare('a message arrives as it was published, with its topic and as the first attempt', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder();
    await subscribe(broker, 'orders', recorder);
    const metadata = { a: '1', pubsubName: 'pubsub' };
    t.deepEqual(await broker.publish('orders', [{ data: Buffer.from('{"a":1}'), contentType: 'a/b', metadata }]), []);
    await until(() => recorder.messages.length === 1, 'it arrived');
    const [message] = recorder.messages;
    t.is(message && textOf(message), '{"a":1}');
    t.like(message, { topic: 'orders', attempt: 1 });
    t.deepEqual({ ...message?.metadata }, metadata);
  });

  declare('no data, every byte, and a mebibyte arrive unchanged', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder();
    await subscribe(broker, 'bytes', recorder);
    const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const payloads = [Buffer.alloc(0), every, Buffer.alloc(2 ** 20, every)];
    for (const data of payloads) t.deepEqual(await broker.publish('bytes', [{ ...text(''), data }]), []);
    await until(() => recorder.messages.length === payloads.length, 'all arrived');
    const bySize = recorder.messages.map(({ data }) => Buffer.from(data)).toSorted((a, b) => a.length - b.length);
    payloads.forEach((payload, index) => t.true(payload.equals(bySize[index] as Buffer), `${payload.length} bytes`));
  });

  declare('a payload may be a view of a larger buffer', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder();
    await subscribe(broker, 'views', recorder);
    const data = new Uint8Array(Buffer.from('before-inside-behind')).subarray(7, 13);
    await broker.publish('views', [{ ...text(''), data }]);
    await until(() => recorder.messages.length === 1, 'it arrived');
    t.deepEqual(recorder.texts, ['inside']);
  });

  declare('metadata comes back with its keys as they were', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder();
    await subscribe(broker, 'metadata', recorder);
    const entries = [
      ['Camel-Case', 'A'],
      ['camel-case', 'a'],
      ['with space.and/slash', ' spaced '],
      ['"quoted"\\', 'line\nbreak\t"'],
      ['ключ 🔑', 'значение 🗝️'],
      ['__proto__', 'plain'],
      ['constructor', 'plain'],
      ['empty', ''],
    ] as const;
    await broker.publish('metadata', [{ ...text('x'), metadata: Object.fromEntries(entries) }]);
    await until(() => recorder.messages.length === 1, 'it arrived');
    const sorted = (list: readonly (readonly [string, string])[]): unknown =>
      list.map((one) => one.join('=')).toSorted();
    t.deepEqual(sorted(Object.entries(recorder.messages[0]?.metadata ?? {})), sorted(entries));
  });

  declare(
    'a refused message is named by its place and the others are stored',
    async (t, bench) => {
      const broker = await bench.open();
      const recorder = new Recorder();
      await subscribe(broker, 'refusals', recorder);
      const big = { ...text(''), data: Buffer.alloc(abilities.refusedBytes as number) };
      const failures = await broker.publish('refusals', [text('first'), big, text('last')]);
      t.deepEqual(
        failures.map(({ index }) => index),
        [1],
      );
      t.true(failures[0]?.error instanceof Error);
      await until(() => recorder.messages.length === 2, 'the others arrived');
      t.deepEqual(recorder.texts.toSorted(), ['first', 'last']);
    },
    'refusedBytes',
  );

  declare('publishing nothing is no failure', async (t, bench) => {
    const broker = await bench.open();
    t.deepEqual(await broker.publish('nothing', []), []);
  });

  declare(
    'a pattern takes every longer topic that begins so, under its real name',
    async (t, bench) => {
      const broker = await bench.open();
      const pattern = new Recorder();
      const exact = new Recorder();
      await subscribe(broker, 'shop.*', pattern);
      await subscribe(broker, 'shop.orders', exact);
      for (const topic of ['shop', 'shop.', 'shopping', 'shop.orders', 'shop.x.y']) await publish(broker, topic, topic);
      await until(() => pattern.messages.length === 2 && exact.messages.length === 1, 'they arrived');
      t.deepEqual(pattern.messages.map(({ topic }) => topic).toSorted(), ['shop.orders', 'shop.x.y']);
      t.deepEqual(pattern.texts.toSorted(), ['shop.orders', 'shop.x.y']);
    },
    'wildcards',
  );
}

export function order(declare: Declare): void {
  declare(
    'messages are handed out in the order of publishing, list by list',
    async (t, bench) => {
      const broker = await bench.open();
      const recorder = new Recorder();
      await subscribe(broker, 'line', recorder);
      const all = texts('m', 120);
      for (let from = 0; from < 60; from += 20) await publish(broker, 'line', ...all.slice(from, from + 20));
      await Promise.all(all.slice(60).map((content) => publish(broker, 'line', content)));
      await until(() => recorder.messages.length === all.length, 'all arrived');
      t.deepEqual(recorder.texts, all);
    },
    'ordered',
  );

  declare(
    'with a concurrency of 1 messages are handled one after the other',
    async (t, bench) => {
      const broker = await bench.open('consumer', 1);
      let running = 0;
      let most = 0;
      const recorder = new Recorder(async () => {
        most = Math.max(most, ++running);
        await new Promise((resolve) => setTimeout(resolve, 1));
        running--;
        return SUCCESS;
      });
      await subscribe(broker, 'queue', recorder);
      await publish(broker, 'queue', ...texts('m', 30));
      await until(() => recorder.messages.length === 30, 'all arrived');
      t.deepEqual(recorder.texts, texts('m', 30));
      t.is(most, 1);
    },
    'ordered',
  );

  declare(
    'with a concurrency of 1 a retry keeps its place, and a parked message lets others pass',
    async (t, bench) => {
      const broker = await bench.open('consumer', 1);
      const recorder = new Recorder((message) => {
        if (textOf(message) === 'm-2') return retry(Infinity);
        return textOf(message) === 'm-1' && message.attempt < 3 ? retry(60) : SUCCESS;
      });
      await subscribe(broker, 'queue', recorder);
      await publish(broker, 'queue', ...texts('m', 4));
      await until(() => recorder.texts.includes('m-3'), 'the last arrived');
      t.deepEqual(recorder.texts, ['m-0', 'm-1', 'm-1', 'm-1', 'm-2', 'm-3']);
    },
    'holdsOrder',
  );

  declare(
    'a concurrency is used and never exceeded',
    async (t, bench) => {
      const broker = await bench.open('consumer', 4);
      let running = 0;
      let most = 0;
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      const recorder = new Recorder(async () => {
        most = Math.max(most, ++running);
        if (most === 4) open();
        await gate;
        await new Promise((resolve) => setTimeout(resolve, 5));
        running--;
        return SUCCESS;
      });
      await subscribe(broker, 'wide', recorder);
      await publish(broker, 'wide', ...texts('m', 60));
      await until(() => recorder.messages.length === 60, 'four run at once, and all arrived');
      t.is(most, 4);
    },
    'parallel',
  );
}
