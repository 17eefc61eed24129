import test from 'ava';
import { Hand, type HandListener } from '../../../../src/brokers/redis/hand.ts';
import { Member, type Delivered } from '../../../../src/brokers/redis/held.ts';
import type { InboundMessage, Outcome } from '../../../../src/core/broker.ts';
import { until } from '../../../_support/until.ts';

const entries = (...ids: number[]): Delivered[] =>
  ids.map((id) => ({ entry: { id: `${id}-0`, data: Buffer.from('x'), metadata: {} }, attempt: 1 }));

/** A hand whose handlers end when the test says so. */
function handOf(concurrency: number, queueDepth: number) {
  const started: string[] = [];
  const signals = new Map<string, AbortSignal>();
  const answers = new Map<string, (outcome: Outcome) => void>();
  const events: string[] = [];
  const listener: HandListener = {
    onSettled: (id) => events.push(`settled ${id}`),
    onDue: () => events.push('due'),
    onParked: ({ id }) => events.push(`parked ${id}`),
    onGivenBack: ({ id }) => events.push(`given back ${id}`),
    onUncounted: ({ id }) => events.push(`uncounted ${id}`),
    onRoom: () => undefined,
  };
  const hand = new Hand('orders', { concurrency, queueDepth }, listener);
  const handler = ({ id, attempt }: InboundMessage, signal: AbortSignal): Promise<Outcome> => {
    started.push(`${id}/${attempt}`);
    signals.set(id, signal);
    return new Promise((resolve) => answers.set(id, resolve));
  };
  const member = new Member(handler);
  hand.members.add(member);
  const answer = async (id: string, outcome: Outcome): Promise<void> => {
    answers.get(id)?.(outcome);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { hand, member, started, signals, events, answer };
}

const SUCCESS: Outcome = { kind: 'success' };

test('as many handlers run as may, in order, and no more is wanted than there is room for', async (t) => {
  const { hand, started, answer } = handOf(2, 3);
  for (let reads = 0; reads < 3; reads++) hand.take([], 0);
  t.is(hand.wanted, 5);
  hand.take(entries(1, 2, 3, 4, 5), 0);
  t.deepEqual(started, ['1-0/1', '2-0/1']);
  t.is(hand.room, 0);
  t.is(hand.unseen, 3);
  await answer('2-0', SUCCESS);
  t.deepEqual(started, ['1-0/1', '2-0/1', '3-0/1']);
});

test('the first read takes one entry, each further one twice as many, until a large one comes', async (t) => {
  const { hand, answer } = handOf(100, 0);
  const wanted: number[] = [];
  const note = (): void => void wanted.push(hand.wanted);
  note();
  hand.take(entries(1), 0);
  await answer('1-0', SUCCESS);
  note();
  hand.take([], 0);
  note();
  const [large] = entries(2) as [Delivered];
  hand.take([{ ...large, entry: { ...large.entry, data: Buffer.alloc(16 * 2 ** 20) } }], 0);
  await answer('2-0', SUCCESS);
  note();
  t.deepEqual(wanted, [1, 2, 4, 2]);
});

test('an entry that comes again while it is in hand is not started again', (t) => {
  const { hand, started } = handOf(2, 10);
  hand.take(entries(1, 2, 3), 0);
  hand.take(entries(1, 2, 3), 0);
  t.deepEqual(started, ['1-0/1', '2-0/1']);
  t.is(hand.all.length, 3);
});

test('a settled entry stays in hand until it is acknowledged, and is acknowledged again when it comes again', async (t) => {
  const { hand, events, answer } = handOf(1, 10);
  hand.take(entries(1), 0);
  await answer('1-0', SUCCESS);
  hand.take(entries(1), 0);
  t.deepEqual(events, ['settled 1-0', 'settled 1-0']);
  const held = hand.find('1-0');
  t.is(held?.state, 'settled');
});

test('with one handler a retry holds what comes after it', async (t) => {
  const { hand, started, events, answer } = handOf(1, 10);
  hand.take(entries(1, 2, 3), 0);
  await answer('1-0', { kind: 'retry', afterMs: 20 });
  await until(() => events.includes('due'), 'it is due');
  t.deepEqual(started, ['1-0/1']);
  const [held] = hand.due();
  t.is(held?.state, 'fetching');
  hand.take([{ ...(entries(1)[0] as Delivered), attempt: 2 }], 0);
  t.deepEqual(started, ['1-0/1', '1-0/2']);
  await answer('1-0', SUCCESS);
  t.is(started.at(-1), '2-0/1');
});

test('a retry that could not be fetched is due again, and one that is lost lets the next pass', async (t) => {
  const { hand, started, answer } = handOf(1, 10);
  hand.take(entries(1, 2), 0);
  await answer('1-0', { kind: 'retry', afterMs: 0 });
  await until(() => hand.hasDue, 'it is due');
  hand.fetchLater(hand.due());
  t.true(hand.hasDue);
  const [held] = hand.due();
  hand.lose(held ?? t.fail());
  t.deepEqual(started, ['1-0/1', '2-0/1']);
});

test('a parked entry is kept without its payload and lets others pass', async (t) => {
  const { hand, started, events, answer } = handOf(1, 10);
  hand.take(entries(1, 2), 0);
  await answer('1-0', { kind: 'retry', afterMs: Infinity });
  t.deepEqual(events, ['parked 1-0']);
  t.is(hand.find('1-0')?.entry, undefined);
  t.is(hand.count(true), 1);
  t.deepEqual(started, ['1-0/1', '2-0/1']);
});

test('who loses an entry is told, and what he says afterwards does not count', async (t) => {
  const { hand, signals, events, answer } = handOf(1, 10);
  hand.take(entries(1), 0);
  hand.lose(hand.find('1-0') ?? t.fail());
  t.true(signals.get('1-0')?.aborted);
  await answer('1-0', SUCCESS);
  t.deepEqual(events, []);
  t.is(hand.all.length, 0);
});

test('what a leaving member fails to handle is given back, its successes count', async (t) => {
  const { hand, member, events, answer } = handOf(2, 10);
  hand.take(entries(1, 2, 3), 0);
  member.leaving = true;
  const drained = member.drained();
  await answer('1-0', SUCCESS);
  await answer('2-0', { kind: 'retry', afterMs: 0 });
  await drained;
  t.deepEqual(events, ['settled 1-0', 'given back 2-0']);
  t.is(hand.find('3-0')?.state, 'queued');
  t.is(hand.room, 0);
});

test('claimed entries that are older go before newer ones that wait for a handler', async (t) => {
  const { hand, started, answer } = handOf(1, 10);
  hand.take(entries(10, 11), 0);
  hand.take(entries(5, 7), 0);
  await answer('10-0', SUCCESS);
  await answer('5-0', SUCCESS);
  await answer('7-0', SUCCESS);
  t.deepEqual(started, ['10-0/1', '5-0/1', '7-0/1', '11-0/1']);
});
