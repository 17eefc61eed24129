/** Keeping what is in hand: whoever looks at the pending list sees that its owner lives and works on it. */

import type { Hand } from './hand.ts';
import type { Held } from './held.ts';
import type { StreamGroup } from './stream-group.ts';
import type { Teller } from '../../lib/teller.ts';

const BATCH = 500;
/** The server's clock may be set back a little without our taking that for somebody else's touch. */
const CLOCK_SLACK_MS = 1000;

/** Idle time on the server that shows that nobody has touched the entries since we did. */
export function untouchedMs(batch: readonly Held[], now: number): number {
  const untouched = now - Math.max(...batch.map(({ touchedAt }) => touchedAt));
  return Math.floor(untouched - Math.min(CLOCK_SLACK_MS, untouched / 2));
}

/**
 * Renews the leases of `batch` for `consumer` and gives up those that are lost. Resolves with how many were trimmed.
 * Rejects when the server cannot be asked: nothing is given up then.
 */
export async function renew(group: StreamGroup, hand: Hand, consumer: string, batch: readonly Held[]): Promise<number> {
  let trimmed = 0;
  for (let i = 0; i < batch.length; i += BATCH) {
    const part = batch.slice(i, i + BATCH).filter((held) => isInHand(hand, held));
    if (part.length === 0) continue;
    const ids = part.map(({ id }) => id);
    const renewed = new Set(await group.renew(consumer, ids, untouchedMs(part, performance.now())));
    const now = performance.now();
    for (const held of part) {
      if (renewed.has(held.id)) held.touchedAt = now;
      // What we still can deliver stays in hand, so that it is not started twice when the server delivers it anew.
      else if ((await examine(group, hand, consumer, held)) === 'unknown' && !held.entry) {
        if (giveUp(hand, held)) trimmed++;
      }
    }
  }
  return trimmed;
}

/** Gives up what the server knows nothing of and we cannot deliver any more. Says whether that is a loss. */
export function giveUp(hand: Hand, held: Held): boolean {
  const isLoss = held.state !== 'settled';
  hand.lose(held);
  return isLoss;
}

/** Says how many messages are lost because the stream does not have them any more. */
export function tellTrimmed(teller: Teller, topic: string, count: number): void {
  if (count > 0) teller.note(`${count} messages of topic ${topic} were trimmed before they were handled`);
}

/** What became of an entry that could not be renewed or claimed. */
export type Fate =
  /** It is ours all the same. */
  | 'ours'
  /** The server knows nothing of it: acknowledged, or gone from the stream. */
  | 'unknown'
  /** It is not in hand any more: somebody else took it over, or it was given back. */
  | 'lost';

/**
 * Asks the server about an entry, and gives it up when another has it. One that is in the stream and was forgotten (its
 * consumer was deleted by hand) is made ours again. Rejects when the server cannot be asked.
 */
export async function examine(group: StreamGroup, hand: Hand, consumer: string, held: Held): Promise<Fate> {
  const pending = await group.findPending(held.id);
  const isThere = pending !== undefined || (await group.exists(held.id));
  if (!isInHand(hand, held)) return 'lost';
  held.touchedAt = performance.now();
  held.isForgotten = pending === undefined && (held.state === 'settled' || !isThere);
  if (held.isForgotten) return 'unknown';
  if (pending && pending.consumer !== consumer) {
    hand.lose(held);
    return 'lost';
  }
  if (pending) await group.renew(consumer, [held.id], 0);
  else await group.handOver(consumer, [held.id], 0, 0, held.attempt);
  return 'ours';
}

const isInHand = (hand: Hand, held: Held): boolean => hand.find(held.id) === held;
