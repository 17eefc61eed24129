/** A publish under the outbound policy of its component: `retry(circuitBreaker(timeout(publish)))` (contract 10.3, 7.1). */

import { backoffMs } from '../lib/backoff.ts';
import { sleep } from '../lib/sleep.ts';
import type { OutboundMessage, PublishFailure } from './broker.ts';
import type { Fault, Guard } from './guard.ts';
import { limitOf, matches, type Retry } from './retry-policy.ts';

/** Gives messages to a broker and tells which it did not take. Never rejects. */
export type Publish = (messages: readonly OutboundMessage[]) => Promise<readonly PublishFailure[]>;

export interface PublishOptions {
  /** The code of what a broker said, undefined where it has none. Decides with `matching` whether it is retried. */
  readonly codeOf: (error: Error) => number | undefined;
  /** Ends the waiting for another attempt. */
  readonly signal?: AbortSignal;
  readonly random?: (() => number) | undefined;
}

/** The policy's own failure, not the broker's. */
class FaultError extends Error {
  readonly fault: Fault;

  constructor(fault: Fault) {
    super(fault.reason);
    this.fault = fault;
  }
}

/** A message on its way, with its place in the list that was given. */
interface Pending {
  readonly message: OutboundMessage;
  readonly index: number;
}

/**
 * Publishes until nothing is left or the policy ends it, and returns what failed in the end. Only what failed is sent
 * again. After a timeout nobody knows whether the broker has the messages: they are sent again and may come twice.
 */
export async function publishGuarded(
  guard: Guard,
  messages: readonly OutboundMessage[],
  publish: Publish,
  { codeOf, signal = new AbortController().signal, random }: PublishOptions,
): Promise<readonly PublishFailure[]> {
  const errors = new Map<number, Error>();
  let pending: Pending[] = messages.map((message, index) => ({ message, index }));
  guard.applied();
  for (let attempt = 1; pending.length > 0; attempt++) {
    const failures = await attemptAll(guard, pending, publish, signal);
    for (const { index } of pending) errors.delete(index);
    for (const { index, error } of failures) errors.set(index, error);
    if (errors.size === 0) guard.recovered(attempt);
    const { retry } = guard;
    if (!retry || signal.aborted) break;
    pending = pending.filter(({ index }) => isRetried(retry, attempt, errors.get(index), codeOf));
    if (pending.length === 0) break;
    const afterMs = backoffMs(retry.backoff, attempt, random);
    guard.retrying(attempt, afterMs);
    await sleep(afterMs, signal);
    if (signal.aborted) break;
  }
  return [...errors].map(([index, error]) => ({ index, error })).toSorted((a, b) => a.index - b.index);
}

/** One attempt for all that are pending. Failures by their place in the whole list. */
async function attemptAll(
  guard: Guard,
  pending: readonly Pending[],
  publish: Publish,
  signal: AbortSignal,
): Promise<readonly PublishFailure[]> {
  const failures = await guard.attempt<readonly PublishFailure[]>(
    {
      call: () => publish(pending.map(({ message }) => message)),
      judge: (failed) => (failed.length > 0 ? 'failure' : 'success'),
      fail: (fault) => pending.map((_, index) => ({ index, error: new FaultError(fault) })),
    },
    signal,
  );
  return failures.flatMap(({ index, error }) => {
    const one = pending[index];
    return one ? [{ index: one.index, error }] : [];
  });
}

/** A call that was refused is not tried again: whoever publishes is told at once. One that was late always is. */
function isRetried(retry: Retry, attempt: number, error: Error | undefined, codeOf: PublishOptions['codeOf']): boolean {
  if (!error || attempt > limitOf(retry)) return false;
  return error instanceof FaultError ? error.fault.afterMs === undefined : matches(retry, codeOf(error));
}
