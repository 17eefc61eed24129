import test from 'ava';
import { inTurn } from '../../../src/core/in-turn.ts';
import type { Answer, Recipient, TopicEvent } from '../../../src/core/recipient.ts';
import { Semaphore } from '../../../src/lib/semaphore.ts';

const NEVER = new AbortController().signal;
const EVENT = {} as TopicEvent;

/** A recipient whose answers the test gives, one event at once. */
function slowOne() {
  const answers: ((answer: Answer) => void)[] = [];
  const closing = new AbortController();
  const next = (): Promise<Answer> => new Promise((resolve) => answers.push(resolve));
  const recipient: Recipient = { deliver: next, deliverBulk: async (events) => Promise.all(events.map(next)) };
  return { answers, closing, turned: inTurn(recipient, new Semaphore(1), closing.signal) };
}

test('what waits for its turn goes back as the subscription ends, however long the one before it takes', async (t) => {
  const { answers, closing, turned } = slowOne();
  const first = turned.deliver(EVENT, NEVER);
  const waiting = Array.from({ length: 50 }, () => turned.deliver(EVENT, NEVER));
  const batch = turned.deliverBulk([EVENT, EVENT], NEVER);
  closing.abort();
  const back = await Promise.all([...waiting, batch]);
  t.true(back.flat().every((answer) => answer.kind === 'retry' && answer.afterMs === 0));
  t.is(answers.length, 1);
  answers[0]?.({ kind: 'success' });
  t.like(await first, { kind: 'success' });
});

test('a last batch, which comes as the subscription ends, has its turn after those that gave up theirs', async (t) => {
  const { answers, closing, turned } = slowOne();
  const first = turned.deliver(EVENT, NEVER);
  const waiting = turned.deliver(EVENT, NEVER);
  closing.abort();
  const last = turned.deliverBulk([EVENT], NEVER);
  answers[0]?.({ kind: 'success' });
  await Promise.all([first, waiting]);
  await new Promise((resolve) => setImmediate(resolve));
  t.is(answers.length, 2);
  answers[1]?.({ kind: 'success' });
  t.like((await last)[0], { kind: 'success' });
});
