/** What becomes of messages when processes are killed or hang. For brokers that several processes share. */

import type { ExecutionContext } from 'ava';
import type { Broker } from '../../src/core/broker.ts';
import { until } from '../_support/until.ts';
import { publish, Recorder, retry, subscribe, texts } from './bench.ts';
import type { BrokerProcess } from './processes.ts';

/** Where the processes of one test meet. */
export interface MeetingPlace {
  /** A broker in this process. */
  open(consumerId: string): Promise<Broker>;
  /** A process with a broker. */
  start(consumerId: string): Promise<BrokerProcess>;
}

/** Declares a test at a place of its own, where the brokers have these settings. */
export type DeclareCrash = (
  title: string,
  body: (t: ExecutionContext, place: MeetingPlace) => Promise<void>,
  settings?: Readonly<Record<string, string>>,
) => void;

export function crashes(declare: DeclareCrash): void {
  declare('what a killed process had in hand is handled by its sibling within seconds', async (t, place) => {
    const [victim, sibling] = await Promise.all([place.start('team'), place.open('team')]);
    await victim.subscribe('kill', { hold: true });
    await publish(sibling, 'kill', ...texts('m', 5));
    await victim.until('delivered', 5);
    const recorder = new Recorder();
    await subscribe(sibling, 'kill', recorder);
    await victim.kill();
    await until(() => recorder.messages.length === 5, 'the sibling handled them');
    t.deepEqual(recorder.texts.toSorted(), texts('m', 5));
    t.true(recorder.messages.every(({ attempt }) => attempt === 2));
  });

  declare('a process that starts again gets at once what it had in hand when it was killed', async (t, place) => {
    const publisher = await place.open('publisher');
    const first = await place.start('team');
    await first.subscribe('again', { hold: true });
    await publish(publisher, 'again', ...texts('m', 3));
    await first.until('delivered', 3);
    await first.kill();
    const second = await place.start('team');
    const began = performance.now();
    await second.subscribe('again', { hold: false });
    await second.until('delivered', 3);
    // What is left to others is looked for every 5 s.
    t.true(performance.now() - began < 4000, `took ${performance.now() - began} ms`);
    t.deepEqual(second.texts('delivered').toSorted(), texts('m', 3));
    t.true(second.news.every((news) => news.event !== 'delivered' || news.attempt === 2));
  });

  declare('what waits in a killed process although the app never saw it has cost no attempt', async (t, place) => {
    const [victim, sibling] = await Promise.all([place.start('team'), place.open('team')]);
    await victim.subscribe('unseen', { hold: false, retryMs: 3000, uncounted: true });
    await publish(sibling, 'unseen', ...texts('m', 5));
    await victim.until('delivered', 5);
    // What it publishes now is stored after what became of those messages.
    victim.tell({ order: 'publish', topic: 'other', prefix: 'x', count: 1, inFlight: 1 });
    await victim.until('acknowledged');
    await victim.kill();
    t.is(victim.count('delivered'), 5);
    const recorder = new Recorder();
    await subscribe(sibling, 'unseen', recorder);
    await until(() => recorder.messages.length === 5, 'the sibling handled them');
    t.deepEqual(
      recorder.messages.map(({ attempt }) => attempt),
      [1, 1, 1, 1, 1],
    );
  });

  declare(
    'a process that hangs loses its messages, and what it says of them afterwards does not count',
    async (t, place) => {
      const [hanging, sibling] = await Promise.all([place.start('team'), place.open('team')]);
      await hanging.subscribe('hang', { hold: true });
      await publish(sibling, 'hang', 'x');
      await hanging.until('delivered');
      hanging.signal('SIGSTOP');
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      const recorder = new Recorder(() => gate.then(() => retry(Infinity)));
      await subscribe(sibling, 'hang', recorder);
      await until(() => recorder.messages.length === 1, 'the sibling got it');
      t.is(recorder.messages[0]?.attempt, 2);
      hanging.signal('SIGCONT');
      await hanging.until('aborted');
      t.deepEqual(hanging.texts('aborted'), ['x']);
      // The one that hung publishes and takes part again, under a new lease.
      hanging.tell({ order: 'publish', topic: 'other', prefix: 'back', count: 1, inFlight: 1 });
      await hanging.until('acknowledged');
      t.is((await sibling.stats('hang')).pending, 1);
      open();
      await until(async () => (await sibling.stats('hang')).parked === 1, 'the outcome of the sibling counts');
    },
    { processingTimeout: '2s' },
  );

  declare(
    'a handler that takes much longer than the processing timeout keeps its message',
    async (t, place) => {
      const [slow, sibling] = await Promise.all([place.start('team'), place.open('team')]);
      await slow.subscribe('slow', { hold: true });
      await publish(sibling, 'slow', 'x');
      await slow.until('delivered');
      const recorder = new Recorder();
      await subscribe(sibling, 'slow', recorder);
      const end = performance.now() + 7000;
      await until(() => performance.now() > end, 'the processing timeout was over many times');
      t.is(recorder.messages.length, 0);
      t.is(slow.count('aborted'), 0);
    },
    { processingTimeout: '1500ms' },
  );
}
