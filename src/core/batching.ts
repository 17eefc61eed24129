/** Bulk subscribe: a recipient that gathers single deliveries into batches for the one behind it (contract 7.2). */

import type { Broker } from './broker.ts';
import type { Answer, Recipient, TopicEvent } from './recipient.ts';
import type { BulkOptions } from './subscription.ts';

interface Waiting {
  readonly event: TopicEvent;
  readonly signal: AbortSignal;
  readonly answer: (answer: Answer) => void;
}

/** Events that wait for company, those of one topic and path together: with a wildcard there are several topics. */
interface Batch {
  readonly waiting: Waiting[];
  readonly timer: NodeJS.Timeout;
}

/**
 * Delivers in batches of at most `maxMessages`, none later than `maxAwaitMs` after its first event came, or together
 * with what came at once. How many can gather is bounded by how many events the broker hands out at once. Once `closing`
 * aborts no company comes any more, and nothing waits for it.
 */
export function batched(
  recipient: Recipient,
  options: BulkOptions,
  broker: Broker['features'],
  closing: AbortSignal,
): Recipient {
  const { maxMessages } = options;
  const batches = new Map<string, Batch>();
  const awaitMs = (): number => (closing.aborted || broker.has('bulk-at-once') ? 0 : options.maxAwaitMs);

  const send = async (key: string): Promise<void> => {
    const batch = batches.get(key);
    if (!batch) return;
    batches.delete(key);
    clearTimeout(batch.timer);
    const isGivenUp = ({ signal }: Waiting): boolean => signal.aborted;
    for (const { answer } of batch.waiting.filter(isGivenUp)) answer(NO_ANSWER);
    const given = batch.waiting.filter((one) => !isGivenUp(one));
    if (given.length > 0) await deliver(recipient, given);
  };
  closing.addEventListener('abort', () => [...batches.keys()].forEach((key) => void send(key)), { once: true });

  return {
    deliver: (event, signal) =>
      new Promise((answer) => {
        const key = JSON.stringify([event.topic, event.path]);
        const batch = batches.get(key) ?? { waiting: [], timer: setTimeout(() => void send(key), awaitMs()) };
        batches.set(key, batch);
        batch.waiting.push({ event, signal, answer });
        if (batch.waiting.length >= maxMessages) void send(key);
      }),
    deliverBulk: (events, signal) => recipient.deliverBulk(events, signal),
  };
}

const NO_ANSWER: Answer = { kind: 'retry', reason: 'response not received' };

/** Gives the batch up when everyone has: one that lost its lease must not fail the others. */
async function deliver(recipient: Recipient, given: readonly Waiting[]): Promise<void> {
  const allGone = new AbortController();
  const leave = (): void => {
    if (given.every(({ signal }) => signal.aborted)) allGone.abort();
  };
  for (const { signal } of given) signal.addEventListener('abort', leave, { once: true });
  const events = given.map(({ event }) => event);
  const answers = await recipient.deliverBulk(events, allGone.signal);
  given.forEach(({ signal, answer }, index) => {
    signal.removeEventListener('abort', leave);
    answer(answers[index] ?? NO_ANSWER);
  });
}
