import type { Semaphore } from '../lib/semaphore.ts';
import type { Recipient } from './recipient.ts';

/** A recipient that gets so many events, or batches, at once. What waits for its turn is not with the recipient yet. */
export function inTurn(recipient: Recipient, turns: Semaphore | undefined): Recipient {
  if (!turns) return recipient;
  return {
    deliver: (event, signal) => turns.run(() => recipient.deliver(event, signal)),
    deliverBulk: (events, signal) => turns.run(() => recipient.deliverBulk(events, signal)),
  };
}
