/** Giving entries back, so that whoever wants them has them at once. */

import type { Hand } from './hand.ts';
import type { Held } from './held.ts';
import { untouchedMs } from './leases.ts';
import { reasonOf } from './reason.ts';
import { CLAIMABLE_MS, type StreamGroup } from './stream-group.ts';
import type { Teller } from '../../lib/teller.ts';

const BATCH = 500;
/** Waiting times are rounded up to this, so that many entries go together. */
const WAIT_STEP_MS = 100;

/** Makes `consumer` their owner. Where that fails they stay ours until somebody finds that we have ended. */
export async function release(
  group: StreamGroup,
  hand: Hand,
  consumer: string,
  batch: readonly Held[],
  teller: Teller,
): Promise<void> {
  const now = performance.now();
  const parts = alike(batch, (held) => `${deliveriesOf(held)} ${waitOf(held, now)}`);
  const giveBack = async (part: readonly [Held, ...Held[]]): Promise<void> => {
    const [first] = part;
    const ids = part.map(({ id }) => id);
    const [idleMs, deliveries] = [CLAIMABLE_MS - waitOf(first, now), deliveriesOf(first)];
    for (const held of part) hand.lose(held);
    await group.handOver(consumer, ids, untouchedMs(part, now), idleMs, deliveries).catch((error: unknown) => {
      teller.note(
        `giving back messages of topic ${group.topic} fails, others take them over later: ${reasonOf(error)}`,
      );
    });
  };
  await Promise.all(parts.map(giveBack));
}

/** Those of which `likeness` says the same together, as many as one command takes. */
export function alike(batch: readonly Held[], likeness: (held: Held) => string): [Held, ...Held[]][] {
  return [...Map.groupBy(batch, likeness).values()].flatMap((all) => chunks(all, BATCH)) as [Held, ...Held[]][];
}

/** How many deliveries a handler saw. */
const deliveriesOf = ({ state, attempt }: Held): number => (state === 'queued' ? attempt - 1 : attempt);

/** How long its retry still waits. */
function waitOf({ state, dueAt }: Held, now: number): number {
  return state === 'waiting' ? Math.ceil(Math.max(0, dueAt - now) / WAIT_STEP_MS) * WAIT_STEP_MS : 0;
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / size) }, (_, i) => all.slice(i * size, (i + 1) * size));
}
