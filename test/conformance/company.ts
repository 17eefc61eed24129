/** Groups and their members: who gets what, also while they come and go. */

import { setImmediate as yieldToOthers } from 'node:timers/promises';
import type { Outcome } from '../../src/core/broker.ts';
import { until } from '../_support/until.ts';
import { NEVER, publish, Recorder, subscribe, SUCCESS, texts, type Declare } from './bench.ts';

export function groups(declare: Declare): void {
  declare(
    'members of a group share its messages and no two get the same',
    async (t, bench) => {
      const brokers = [await bench.open('team', 2), await bench.open('team', 2)];
      // Who is faster does not get everything: nobody goes on before both have begun.
      const { promise: gate, resolve: open } = Promise.withResolvers<Outcome>();
      const members: Recorder[] = [0, 1].map(
        () =>
          new Recorder(() => {
            if (members.every(({ messages }) => messages.length > 0)) open(SUCCESS);
            return gate;
          }),
      );
      for (const [index, broker] of brokers.entries()) await subscribe(broker, 'share', members[index] as Recorder);
      const all = texts('m', 150);
      await Promise.all(all.map((content, index) => publish(brokers[index % 2] ?? t.fail(), 'share', content)));
      const came = (): string[] => members.flatMap((member) => member.texts);
      await until(() => came().length >= 150, 'both have some, and all came');
      t.deepEqual(came().toSorted(), all.toSorted());
    },
    'parallel',
  );

  declare(
    'each group gets every message',
    async (t, bench) => {
      const publisher = await bench.open('publisher');
      const recorders = [new Recorder(), new Recorder()];
      for (const [index, recorder] of recorders.entries())
        await subscribe(await bench.open(`g${index}`), 'news', recorder);
      await publish(publisher, 'news', ...texts('m', 40));
      for (const recorder of recorders) {
        await until(() => recorder.messages.length === 40, 'all arrived');
        t.deepEqual(recorder.texts.toSorted(), texts('m', 40).toSorted());
      }
    },
    'shared',
  );

  declare(
    'what was published before the first subscription arrives',
    async (t, bench) => {
      const publisher = await bench.open('publisher');
      await publish(publisher, 'early', ...texts('m', 25));
      await publisher.close();
      const recorder = new Recorder();
      await subscribe(await bench.open('late'), 'early', recorder);
      await until(() => recorder.messages.length === 25, 'all arrived');
      t.deepEqual(recorder.texts.toSorted(), texts('m', 25).toSorted());
    },
    'shared',
    'durable',
  );

  declare('what is published once subscribe has resolved arrives', async (t, bench) => {
    const broker = await bench.open();
    const recorders = await Promise.all(
      texts('topic', 20).map(async (topic) => {
        const recorder = new Recorder();
        await subscribe(broker, topic, recorder);
        await publish(broker, topic, topic);
        return recorder;
      }),
    );
    await until(() => recorders.every(({ messages }) => messages.length === 1), 'each arrived');
    t.deepEqual(
      recorders.flatMap((recorder) => recorder.texts),
      texts('topic', 20),
    );
  });

  declare(
    'one process is told of the message of another at once',
    async (t, bench) => {
      const consumer = await bench.open('consumer');
      const publisher = await bench.open('publisher');
      const recorder = new Recorder();
      await subscribe(consumer, 'bell', recorder);
      const took: number[] = [];
      for (let index = 1; index <= 20; index++) {
        const began = performance.now();
        await publish(publisher, 'bell', 'x');
        await until(() => recorder.messages.length === index, 'it arrived');
        took.push(performance.now() - began);
      }
      took.sort((a, b) => a - b);
      // Who is not told looks every second or two.
      t.true((took[10] as number) < 500, `half took longer than ${took[10]} ms`);
    },
    'shared',
  );
}

export function crowds(declare: Declare): void {
  declare('many topics keep apart', async (t, bench) => {
    const broker = await bench.open();
    const topics = texts('topic', 60);
    const recorders = topics.map(() => new Recorder());
    await Promise.all(topics.map((topic, index) => subscribe(broker, topic, recorders[index] as Recorder)));
    await Promise.all(topics.map((topic) => publish(broker, topic, ...texts(topic, 3))));
    await until(() => recorders.every(({ messages }) => messages.length === 3), 'all arrived');
    recorders.forEach((recorder, index) => t.deepEqual(recorder.texts.toSorted(), texts(topics[index] as string, 3)));
  });

  declare('nothing is lost or handled twice while subscriptions come and go', async (t, bench) => {
    const broker = await bench.open('consumer', 5);
    const recorder = new Recorder(() => new Promise((resolve) => setImmediate(() => resolve(SUCCESS))));
    const keeper = await subscribe(broker, 'storm', recorder);
    const all = texts('m', 400);
    let open = true;
    const storm = Array.from({ length: 8 }, async () => {
      while (open) {
        await (await subscribe(broker, 'storm', recorder)).close(NEVER);
        await yieldToOthers();
      }
    });
    for (let from = 0; from < all.length; from += 10) await publish(broker, 'storm', ...all.slice(from, from + 10));
    await until(() => recorder.messages.length >= all.length, 'all arrived');
    open = false;
    await Promise.all(storm);
    await until(async () => (await broker.stats('storm')).pending === 0, 'all is settled');
    t.deepEqual(recorder.texts.toSorted(), all.toSorted());
    await keeper.close(NEVER);
  });
}
