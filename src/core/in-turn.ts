import type { Semaphore } from '../lib/semaphore.ts';
import type { Answer, Recipient } from './recipient.ts';

const NOT_ITS_TURN: Answer = { kind: 'retry', reason: 'the subscription ended before it was its turn', afterMs: 0 };

/**
 * A recipient that gets so many events, or batches, at once. What waits for its turn is not with the recipient yet, and
 * goes back when `closing` aborts meanwhile.
 */
export function inTurn(recipient: Recipient, turns: Semaphore | undefined, closing: AbortSignal): Recipient {
  if (!turns) return recipient;
  const take = <T>(call: () => Promise<T>, goBack: () => T): Promise<T> => {
    const isLast = closing.aborted; // a batch that nothing more is gathered for
    return turns.run(async () => (closing.aborted && !isLast ? goBack() : call()));
  };
  return {
    deliver: (event, signal) =>
      take(
        () => recipient.deliver(event, signal),
        () => NOT_ITS_TURN,
      ),
    deliverBulk: (events, signal) =>
      take(
        () => recipient.deliverBulk(events, signal),
        () => events.map(() => NOT_ITS_TURN),
      ),
  };
}
