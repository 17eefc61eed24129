/** Subscriptions and brokers that end, and what becomes of what they had in hand. */

import { until } from '../_support/until.ts';
import { NEVER, publish, Recorder, retry, subscribe, SUCCESS, text, texts, type Declare } from './bench.ts';

export function closing(declare: Declare): void {
  declare('close waits for the handler and settles by its outcome', async (t, bench) => {
    const broker = await bench.open();
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const recorder = new Recorder(() => gate.then(() => SUCCESS));
    const subscription = await subscribe(broker, 'close', recorder);
    await publish(broker, 'close', 'x');
    await until(() => recorder.messages.length === 1, 'it is in hand');
    let closed = false;
    const closing = subscription.close(NEVER).then(() => (closed = true));
    await publish(broker, 'close', 'later');
    t.false(closed);
    open();
    await closing;
    const next = new Recorder();
    await subscribe(broker, 'close', next);
    await until(() => next.messages.length === 1, 'the later one arrived');
    await until(async () => (await broker.stats('close')).pending === 0, 'all is settled');
    t.deepEqual([recorder.texts, next.texts], [['x'], ['later']]);
    await subscription.close(NEVER);
  });

  declare('what is not settled at the deadline goes to the next subscription at once', async (t, bench) => {
    const broker = await bench.open();
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const signals: AbortSignal[] = [];
    const recorder = new Recorder((_, signal) => {
      signals.push(signal);
      return gate.then(() => SUCCESS);
    });
    const subscription = await subscribe(broker, 'deadline', recorder);
    await publish(broker, 'deadline', 'x');
    await until(() => recorder.messages.length === 1, 'it is in hand');
    const deadline = new AbortController();
    const closing = subscription.close(deadline.signal);
    t.false(signals[0]?.aborted);
    deadline.abort();
    await closing;
    t.true(signals[0]?.aborted);
    const next = new Recorder(() => retry(Infinity));
    await subscribe(await bench.open(), 'deadline', next);
    await until(() => next.messages.length === 1, 'it came again');
    t.like(next.messages[0], { attempt: 2, id: recorder.messages[0]?.id });
    open();
    await until(async () => (await broker.stats('deadline')).parked === 1, 'the outcome of its new owner counts');
  });

  declare('an earlier deadline hastens a close', async (t, bench) => {
    const broker = await bench.open();
    const recorder = new Recorder(() => new Promise(() => undefined));
    const subscription = await subscribe(broker, 'hasten', recorder);
    await publish(broker, 'hasten', 'x');
    await until(() => recorder.messages.length === 1, 'it is in hand');
    const closing = subscription.close(NEVER);
    await subscription.close(AbortSignal.abort());
    await t.notThrowsAsync(closing);
  });

  declare('closing one subscription leaves others alone, and nothing reaches it any more', async (t, bench) => {
    const broker = await bench.open();
    const [first, second] = [new Recorder(), new Recorder()];
    const subscription = await subscribe(broker, 'one', first);
    await subscribe(broker, 'two', second);
    await subscription.close(NEVER);
    await publish(broker, 'one', 'x');
    await publish(broker, 'two', ...texts('m', 5));
    await until(() => second.messages.length === 5, 'they arrived');
    t.is(first.messages.length, 0);
  });
}

export function brokersEnd(declare: Declare): void {
  declare('a closed broker refuses everything and can be closed again', async (t, bench) => {
    const broker = await bench.open();
    await broker.ping();
    await subscribe(broker, 'end', new Recorder());
    await Promise.all([broker.close(), broker.close()]);
    await t.throwsAsync(broker.publish('end', [text('x')]), { message: /closed/ });
    await t.throwsAsync(subscribe(broker, 'end', new Recorder()), { message: /closed/ });
    await t.throwsAsync(broker.ping(), { message: /closed/ });
    await broker.close();
  });

  declare(
    'a broker that closes hands over what it has not settled at once',
    async (t, bench) => {
      const [first, second] = [await bench.open(), await bench.open()];
      const signals: AbortSignal[] = [];
      const holder = new Recorder((_, signal) => {
        signals.push(signal);
        return new Promise(() => undefined);
      });
      await subscribe(first, 'hand', holder);
      await publish(first, 'hand', ...texts('m', 3));
      await until(() => holder.messages.length === 3, 'they are in hand');
      const recorder = new Recorder();
      await subscribe(second, 'hand', recorder);
      await first.close();
      t.true(signals.every(({ aborted }) => aborted));
      await until(() => recorder.messages.length === 3, 'they came again');
      t.deepEqual(
        recorder.messages.map(({ attempt }) => attempt),
        [2, 2, 2],
      );
    },
    'shared',
    'parallel',
  );

  declare(
    'a backlog waits for the next broker of the group',
    async (t, bench) => {
      const first = await bench.open('consumer', 1);
      await subscribe(first, 'backlog', new Recorder(() => new Promise(() => undefined)));
      await publish(first, 'backlog', ...texts('m', 12));
      await first.close();
      const recorder = new Recorder();
      const second = await bench.open('consumer', 1);
      await subscribe(second, 'backlog', recorder);
      await until(() => recorder.messages.length === 12, 'all came');
      t.deepEqual(recorder.texts.toSorted(), texts('m', 12).toSorted());
    },
    'durable',
  );
}
