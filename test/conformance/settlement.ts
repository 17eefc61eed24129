/** How outcomes settle, and that what is not settled comes again without holding others. */

import type { Outcome } from '../../src/core/broker.ts';
import { until } from '../_support/until.ts';
import { DROP, publish, Recorder, retry, subscribe, SUCCESS, texts, textOf, type Declare } from './bench.ts';

/** How late a retry may be, on a machine that is busy with other tests. */
const LATE_MS = 5000;
/** How long a retry waits that outlives its broker. */
const WAIT_MS = 700;

export function settling(declare: Declare): void {
  declare('every message arrives exactly once when all succeed', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder();
    await subscribe(broker, 'once', recorder);
    const all = texts('m', 300);
    await Promise.all(all.map((content) => publish(broker, 'once', content)));
    await until(
      async () => (await broker.stats('once')).pending === 0 && recorder.messages.length >= 300,
      'all settled',
    );
    t.deepEqual(recorder.texts.toSorted(), all.toSorted());
    t.is(new Set(recorder.messages.map(({ id }) => id)).size, 300);
    t.true(recorder.messages.every(({ attempt }) => attempt === 1));
  });

  declare(
    'a retry comes after its time and soon after it, as the next attempt of the same message',
    async (t, bench) => {
      const broker = await bench.open();
      const waits = [50, 0, 300];
      const times: number[] = [];
      const recorder = new Recorder(({ attempt }) => {
        times.push(performance.now());
        const wait = waits[attempt - 1];
        return wait === undefined ? SUCCESS : retry(wait);
      });
      await subscribe(broker, 'again', recorder);
      await publish(broker, 'again', 'x');
      await until(() => recorder.messages.length === 4, 'four attempts');
      t.deepEqual(
        recorder.messages.map(({ attempt }) => attempt),
        [1, 2, 3, 4],
      );
      t.is(new Set(recorder.messages.map(({ id }) => id)).size, 1);
      t.deepEqual(recorder.texts, ['x', 'x', 'x', 'x']);
      waits.forEach((wait, index) => {
        const took = (times[index + 1] as number) - (times[index] as number);
        t.true(took >= wait - 1 && took < wait + LATE_MS, `asked for ${wait} ms, took ${took}`);
      });
      await until(async () => (await broker.stats('again')).pending === 0, 'it is settled');
    },
  );

  declare('a dropped message is settled', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder(() => DROP);
    await subscribe(broker, 'drop', recorder);
    await publish(broker, 'drop', 'x');
    await until(
      async () => recorder.messages.length > 0 && (await broker.stats('drop')).pending === 0,
      'it is settled',
    );
    t.is(recorder.messages.length, 1);
  });

  declare(
    'what waits for a retry outlives the broker and keeps its time and its attempts',
    async (t, bench) => {
      const first = await bench.open();
      const times: number[] = [];
      const timed = (outcome: Outcome) => (): Outcome => {
        times.push(performance.now());
        return outcome;
      };
      const before = new Recorder(timed(retry(WAIT_MS)));
      await subscribe(first, 'wait', before);
      await publish(first, 'wait', 'x');
      await until(() => before.messages.length === 1, 'it failed once');
      await until(async () => (await first.stats('wait')).pending === 1, 'it waits');
      await first.close();
      const again = new Recorder(timed(SUCCESS));
      await subscribe(await bench.open(), 'wait', again);
      await until(() => again.messages.length === 1, 'it came again');
      const [failed = 0, came = 0] = times;
      t.true(came - failed >= WAIT_MS - 1, `asked for ${WAIT_MS} ms, took ${came - failed}`);
      t.is(again.messages[0]?.attempt, 2);
      t.is(again.messages[0]?.id, before.messages[0]?.id as string);
    },
    'durable',
  );
}

export function parking(declare: Declare): void {
  declare('a parked message stays, is counted, and comes again when asked for', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder(({ attempt, data }) =>
      attempt === 1 && data[0] === 112 ? retry(Infinity) : SUCCESS,
    );
    await subscribe(broker, 'park', recorder);
    await publish(broker, 'park', 'p', 'ordinary');
    await until(async () => (await broker.stats('park')).parked === 1, 'it is parked');
    await until(async () => (await broker.stats('park')).pending === 1, 'the other is settled');
    t.deepEqual(recorder.texts.toSorted(), ['ordinary', 'p']);
    t.is(await broker.unpark('park'), 1);
    await until(() => recorder.messages.length === 3, 'it came again');
    t.like(recorder.messages[2], { attempt: 2 });
    await until(async () => (await broker.stats('park')).pending === 0, 'it is settled');
    t.is((await broker.stats('park')).parked, 0);
    t.is(await broker.unpark('park'), 0);
  });

  declare(
    'a parked message comes again when the broker was started anew',
    async (t, bench) => {
      const first = await bench.open();
      await subscribe(first, 'park', new Recorder(() => retry(Infinity)));
      await publish(first, 'park', 'x');
      await until(async () => (await first.stats('park')).parked === 1, 'it is parked');
      await first.close();
      const recorder = new Recorder();
      await subscribe(await bench.open(), 'park', recorder);
      await until(() => recorder.messages.length === 1, 'it came again');
      t.like(recorder.messages[0], { attempt: 2 });
    },
    'durable',
  );

  declare(
    'lag, pending and the age of the oldest say how a group stands',
    async (t, bench) => {
      const broker = await bench.open('consumer', 2);
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      const recorder = new Recorder(() => gate.then(() => SUCCESS));
      t.deepEqual(await broker.stats('figures'), { lag: 0, pending: 0, parked: 0, oldestUnsettledMs: 0 });
      await subscribe(broker, 'figures', recorder);
      await publish(broker, 'figures', ...texts('m', 7));
      await until(() => recorder.messages.length === 2, 'two are in hand');
      await until(async () => (await broker.stats('figures')).oldestUnsettledMs >= 20, 'it grows old');
      t.like(await broker.stats('figures'), { lag: 5, pending: 2, parked: 0 });
      open();
      const settled = async (): Promise<boolean> => {
        const { lag, pending } = await broker.stats('figures');
        return lag + pending === 0 && recorder.messages.length === 7;
      };
      await until(settled, 'all is settled');
      t.deepEqual(await broker.stats('figures'), { lag: 0, pending: 0, parked: 0, oldestUnsettledMs: 0 });
    },
    'parallel',
  );
}

export function neighbours(declare: Declare): void {
  declare(
    'a slow message does not hold its neighbours',
    async (t, bench) => {
      const broker = await bench.open('consumer', 2);
      const { promise: gate, resolve: open } = Promise.withResolvers<void>();
      const recorder = new Recorder(async (message) => {
        if (textOf(message) === 'm-0') await gate;
        return SUCCESS;
      });
      await subscribe(broker, 'slow', recorder);
      await publish(broker, 'slow', ...texts('m', 50));
      await until(() => recorder.messages.length === 50, 'the others were handled');
      t.like(
        await until(async () => (await broker.stats('slow')).pending === 1 && broker.stats('slow'), 'one is left'),
        {
          lag: 0,
        },
      );
      open();
      await until(async () => (await broker.stats('slow')).pending === 0, 'all is settled');
    },
    'parallel',
  );

  declare(
    'a message that fails for ever does not hold its neighbours',
    async (t, bench) => {
      const broker = await bench.open('consumer', 2);
      const recorder = new Recorder((message) => (textOf(message).startsWith('poison') ? retry(20) : SUCCESS));
      await subscribe(broker, 'poison', recorder);
      await publish(broker, 'poison', ...texts('poison', 5), ...texts('m', 100));
      await until(() => recorder.texts.filter((content) => content.startsWith('m-')).length === 100, 'the others came');
      await until(() => recorder.messages.some(({ attempt }) => attempt > 3), 'poison is tried on');
      t.is((await broker.stats('poison')).lag, 0);
    },
    'parallel',
  );
}
