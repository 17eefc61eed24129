/** What to do with what failed: pure functions of how often it was tried and of the code it failed with. Nothing waits here. */

import { backoffMs, type Backoff } from '../lib/backoff.ts';

export type Decision =
  { readonly kind: 'retry'; readonly afterMs: number } | { readonly kind: 'dead-letter' } | { readonly kind: 'park' };

/** `attempt` is the delivery that failed, from 1; `code` what the app answered, where it answered. */
export type RetryPolicy = (attempt: number, code: number | undefined) => Decision;

/** Codes from the first to the second, both included. */
export type CodeRange = readonly [from: number, to: number];

/** A retry as a Resiliency resource defines it (contract 10.2). */
export interface Retry {
  readonly backoff: Backoff;
  /** Tries after the first; Infinity: no limit. */
  readonly maxRetries: number;
  /** As many as fit into the time Dapr gives an exponential retry, whatever `maxRetries` says; Infinity: no limit. */
  readonly retriesInTime: number;
  /** HTTP statuses that are tried again; absent: all. */
  readonly httpCodes?: readonly CodeRange[];
  /** gRPC codes that are tried again; absent: all. */
  readonly grpcCodes?: readonly CodeRange[];
}

export const GRPC_CODES: CodeRange = [0, 16];
export const HTTP_CODES: CodeRange = [100, 599];

const DEAD_LETTER: Decision = { kind: 'dead-letter' };
const PARK: Decision = { kind: 'park' };

/** About 1 s, doubling to 60 s, spread over 80-120 % so that many failures do not come back as one wave. */
export const DEFAULT_BACKOFF: Backoff = { initialMs: 1000, factor: 2, maxMs: 60_000, jitter: 0.2 };

/** Where nothing is configured: for ever with growing pauses, or to the dead-letter topic after the first failure. */
export function defaultPolicy(hasDeadLetterTopic: boolean): RetryPolicy {
  return hasDeadLetterTopic
    ? () => DEAD_LETTER
    : (attempt) => ({ kind: 'retry', afterMs: backoffMs(DEFAULT_BACKOFF, attempt) });
}

/**
 * A message's policy by a configured retry. What is tried no more goes to the dead-letter topic, without one it is
 * parked. Without one the time limit does not count either: who wrote no limit wants the message delivered.
 */
export function retryPolicy(retry: Retry, hasDeadLetterTopic: boolean, random?: () => number): RetryPolicy {
  const limit = hasDeadLetterTopic ? limitOf(retry) : retry.maxRetries;
  return (attempt, code) => {
    if (attempt <= limit && matches(retry, code)) {
      return { kind: 'retry', afterMs: backoffMs(retry.backoff, attempt, random) };
    }
    return hasDeadLetterTopic ? DEAD_LETTER : PARK;
  };
}

/** Dapr's own policy for asking an app at start, by its name: three more tries within some two seconds. */
export const INIT_RETRY_NAME = 'DaprBuiltInInitializationRetries';
export const INIT_RETRY: Retry = {
  backoff: { initialMs: 500, factor: 1.5, maxMs: 1000, jitter: 0.5 },
  maxRetries: 3,
  retriesInTime: Infinity,
};

/** How long to wait before the try after the `attempt`-th; undefined when that was the last. */
export function pauseOf(retry: Retry, attempt: number, code: number | undefined): number | undefined {
  return attempt <= limitOf(retry) && matches(retry, code) ? backoffMs(retry.backoff, attempt) : undefined;
}

/** Tries after the first until whoever waits is told of the failure. */
export function limitOf({ maxRetries, retriesInTime }: Retry): number {
  return Math.min(maxRetries, retriesInTime);
}

/** Whether a failure with this code is one to try again. Without a code it always is. */
export function matches({ httpCodes, grpcCodes }: Retry, code: number | undefined): boolean {
  if (code === undefined) return true;
  if (within(GRPC_CODES, code)) return grpcCodes?.some((range) => within(range, code)) ?? true;
  return within(HTTP_CODES, code) && (httpCodes?.some((range) => within(range, code)) ?? true);
}

const within = ([from, to]: CodeRange, code: number): boolean => from <= code && code <= to;

/**
 * How many waits fit into `totalMs`, each taken as it is before it is spread: an elapsed time that needs no clock and
 * outlives a restart. Infinity where nothing is waited for.
 */
export function retriesWithin(backoff: Backoff, totalMs: number): number {
  if (backoff.maxMs < 1) return Infinity;
  const even = { ...backoff, jitter: 0 };
  let left = totalMs;
  for (let retries = 0; ; retries++) {
    const wait = backoffMs(even, retries + 1);
    if (wait >= backoff.maxMs) return retries + Math.floor(left / wait);
    if (wait > left) return retries;
    left -= wait;
  }
}
