/** Which deliveries are attempts: those that the recipient saw. */

import type { InboundMessage, Outcome } from '../../src/core/broker.ts';
import { until } from '../_support/until.ts';
import { NEVER, publish, Recorder, retry, subscribe, SUCCESS, uncounted, type Declare } from './bench.ts';

/** How long a retry waits that outlives its broker. */
const WAIT_MS = 700;

/** A recorder that answers one after the other. */
const answering = (...outcomes: Outcome[]): Recorder => new Recorder(() => outcomes.shift() ?? SUCCESS);

const attemptsOf = ({ messages }: Recorder): number[] => messages.map(({ attempt }: InboundMessage) => attempt);

export function counting(declare: Declare): void {
  declare('an attempt the app never saw is not counted', async (t, bench) => {
    const broker = await bench.open();
    const recorder = answering(uncounted(20), uncounted(0), retry(0), uncounted(20), uncounted(0), retry(20));
    await subscribe(broker, 'unseen', recorder);
    await publish(broker, 'unseen', 'x');
    await until(() => recorder.messages.length === 7, 'it was handled');
    t.deepEqual(attemptsOf(recorder), [1, 1, 1, 2, 2, 2, 3]);
    await until(async () => (await broker.stats('unseen')).pending === 0, 'it is settled');
  });

  declare('what is parked though the app never saw it comes again as the attempt it was', async (t, bench) => {
    const broker = await bench.open();
    const recorder = answering(uncounted(Infinity));
    await subscribe(broker, 'unseen', recorder);
    await publish(broker, 'unseen', 'x');
    await until(async () => (await broker.stats('unseen')).parked === 1, 'it is parked');
    await broker.unpark('unseen');
    await until(() => recorder.messages.length === 2, 'it came again');
    t.deepEqual(attemptsOf(recorder), [1, 1]);
  });

  declare('an attempt the app never saw is not counted, also as its subscription ends', async (t, bench) => {
    const broker = await bench.open();
    const { promise: gate, resolve: open } = Promise.withResolvers<Outcome>();
    const before = new Recorder(() => gate);
    const subscription = await subscribe(broker, 'unseen', before);
    await publish(broker, 'unseen', 'x');
    await until(() => before.messages.length === 1, 'it is in hand');
    const closed = subscription.close(NEVER);
    open(uncounted(0));
    await closed;
    const after = new Recorder();
    await subscribe(await bench.open(), 'unseen', after);
    await until(() => after.messages.length === 1, 'it came again');
    t.deepEqual(attemptsOf(after), [1]);
  });

  declare(
    'an attempt the app never saw is not counted, also after a restart',
    async (t, bench) => {
      const first = await bench.open();
      const before = answering(uncounted(0), retry(0), uncounted(0), uncounted(WAIT_MS));
      await subscribe(first, 'unseen', before);
      await publish(first, 'unseen', 'x');
      await until(() => before.messages.length === 4, 'it waits');
      const failed = performance.now();
      await first.close();
      const after = answering(retry(0));
      await subscribe(await bench.open(), 'unseen', after);
      await until(() => after.messages.length > 0, 'it came again');
      const took = performance.now() - failed;
      await until(() => after.messages.length === 2, 'it was handled');
      t.deepEqual(
        [attemptsOf(before), attemptsOf(after)],
        [
          [1, 1, 2, 2],
          [2, 3],
        ],
      );
      t.true(took >= WAIT_MS - 100, `asked for ${WAIT_MS} ms, took ${took}`);
    },
    'durable',
  );
}
