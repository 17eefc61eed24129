import test from 'ava';
import { batched } from '../../../src/core/batching.ts';
import type { Answer, Recipient, TopicEvent } from '../../../src/core/recipient.ts';
import { eventOf, NEVER } from '../channels/_event.ts';

/** A recipient that answers its one batch when told, and what it was given. */
function slow() {
  const { promise, resolve } = Promise.withResolvers<readonly Answer[]>();
  const given: { events: readonly TopicEvent[]; signal: AbortSignal }[] = [];
  const recipient: Recipient = {
    deliver: () => Promise.resolve({ kind: 'success' }),
    deliverBulk: (events, signal) => {
      given.push({ events, signal });
      return promise;
    },
  };
  return { recipient, given, answer: resolve };
}

const OPTIONS = { maxMessages: 2, maxAwaitMs: 60_000 };

test('an event that is given up does not cost the others of its batch their delivery', async (t) => {
  const { recipient, given, answer } = slow();
  const bulk = batched(recipient, OPTIONS, new Set(), NEVER);
  const [lost, other] = [new AbortController(), new AbortController()];
  const answers = [bulk.deliver(eventOf(), lost.signal), bulk.deliver(eventOf(), other.signal)];
  lost.abort();
  t.false(given[0]?.signal.aborted);
  answer([{ kind: 'success' }, { kind: 'success' }]);
  t.deepEqual(await Promise.all(answers), [{ kind: 'success' }, { kind: 'success' }]);
});

test('a batch that nobody waits for any more is given up', (t) => {
  const { recipient, given } = slow();
  const bulk = batched(recipient, OPTIONS, new Set(), NEVER);
  const gone = new AbortController();
  for (let i = 0; i < 2; i++) void bulk.deliver(eventOf(), gone.signal);
  gone.abort();
  t.true(given[0]?.signal.aborted);
});

test('an event that was given up while it waited for company is not delivered', async (t) => {
  const { recipient, given, answer } = slow();
  const bulk = batched(recipient, OPTIONS, new Set(), NEVER);
  const gone = new AbortController();
  const early = bulk.deliver(eventOf({ pubsubName: 'gone' }), gone.signal);
  gone.abort();
  const late = bulk.deliver(eventOf(), NEVER);
  answer([{ kind: 'success' }]);
  t.deepEqual([(await early).kind, (await late).kind], ['retry', 'success']);
  t.deepEqual(
    given[0]?.events.map(({ pubsubName }) => pubsubName),
    ['pubsub'],
  );
});

test('a batch is of one topic and one path', (t) => {
  const { recipient, given } = slow();
  const closing = new AbortController();
  t.teardown(() => closing.abort());
  const bulk = batched(recipient, OPTIONS, new Set(), closing.signal);
  for (const more of [{}, { topic: 'u' }, { path: '/q' }, { topic: 'u' }, {}]) void bulk.deliver(eventOf(more), NEVER);
  t.deepEqual(
    given.map(({ events }) => events.map(({ topic, path }) => `${topic} ${path}`)),
    [
      ['u /p', 'u /p'],
      ['t /p', 't /p'],
    ],
  );
});

test('no event waits for company once its subscription ends', async (t) => {
  const { recipient, given, answer } = slow();
  const closing = new AbortController();
  const bulk = batched(recipient, OPTIONS, new Set(), closing.signal);
  const answers = [bulk.deliver(eventOf(), NEVER), bulk.deliver(eventOf({ topic: 'u' }), NEVER)];
  closing.abort();
  answers.push(bulk.deliver(eventOf({ topic: 'late' }), NEVER));
  answer([{ kind: 'success' }]);
  t.deepEqual(await Promise.all(answers), Array(3).fill({ kind: 'success' }));
  t.deepEqual(
    given.map(({ events }) => events.map(({ topic }) => topic)),
    [['t'], ['u'], ['late']],
  );
});
