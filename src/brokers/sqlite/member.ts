import type { Call } from './protocol.ts';

/** Payloads a member has in hand at once, besides the message that goes past it. */
const MEMBER_BYTES = 16 * 2 ** 20;

/** A subscription, as the database thread sees it. */
export interface Member {
  readonly id: number;
  readonly topic: string;
  readonly group: number;
  /** Whether a message that waits holds those behind it. */
  readonly inOrder: boolean;
  /** How much it may still be given. */
  messages: number;
  bytes: number;
  /** Whether there may be something for it. Asleep, it has a waiter row. */
  awake: boolean;
  /** When there is something for it even asleep. Milliseconds since the epoch. */
  nextDue: number;
}

export const createMember = (
  { member: id, topic, concurrency }: Call & { kind: 'subscribe' },
  group: number,
): Member => ({
  id,
  topic,
  group,
  inOrder: concurrency === 1,
  messages: concurrency,
  bytes: MEMBER_BYTES,
  awake: true,
  nextDue: Infinity,
});

/** When there may be something for it that it has room for: milliseconds since the epoch, Infinity when not by itself. */
export const claimableAt = ({ messages, bytes, awake, nextDue }: Member): number => {
  if (messages <= 0 || bytes <= 0) return Infinity;
  return awake ? 0 : nextDue;
};

export const isClaimable = (member: Member, now: number): boolean => claimableAt(member) <= now;
