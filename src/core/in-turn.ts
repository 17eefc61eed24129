import type { Semaphore } from '../lib/semaphore.ts';
import type { Answer, Recipient } from './recipient.ts';

const NOT_ITS_TURN: Answer = { kind: 'retry', reason: 'the subscription ended before it was its turn', afterMs: 0 };

/**
 * A recipient that gets so many events, or batches, at once. What waits for its turn is not with the recipient yet, and
 * goes back as soon as `closing` aborts.
 */
export function inTurn(recipient: Recipient, turns: Semaphore | undefined, closing: AbortSignal): Recipient {
  if (!turns) return recipient;
  const take = async <T>(call: () => Promise<T>, goBack: () => T): Promise<T> => {
    const turn = turns.acquire();
    if (turn && !(await comes(turn, closing))) {
      void turn.then(() => turns.release());
      return goBack();
    }
    try {
      return await call();
    } finally {
      turns.release();
    }
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

/** Whether the turn comes before `closing` aborts. Who began to wait after that waits: a batch that nothing more is gathered for. */
async function comes(turn: Promise<void>, closing: AbortSignal): Promise<boolean> {
  if (closing.aborted) return turn.then(() => true);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const giveUp = (): void => resolve(false);
  closing.addEventListener('abort', giveUp, { once: true });
  void turn.then(() => resolve(!closing.aborted));
  const came = await promise;
  closing.removeEventListener('abort', giveUp);
  return came;
}
