import test from 'ava';
import {
  defaultPolicy,
  limitOf,
  matches,
  retriesWithin,
  retryPolicy,
  type Retry,
} from '../../../src/core/retry-policy.ts';
import type { Backoff } from '../../../src/lib/backoff.ts';

const CONSTANT: Backoff = { initialMs: 5000, factor: 1, maxMs: 5000, jitter: 0 };
const EXPONENTIAL: Backoff = { initialMs: 500, factor: 1.5, maxMs: 60_000, jitter: 0.5 };
const retry = (more: Partial<Retry> = {}): Retry => ({
  backoff: CONSTANT,
  maxRetries: Infinity,
  retriesInTime: Infinity,
  ...more,
});
const waits = (policy: ReturnType<typeof retryPolicy>, attempts: number): unknown[] =>
  Array.from({ length: attempts }, (_, i) => {
    const decision = policy(i + 1, undefined);
    return decision.kind === 'retry' ? decision.afterMs : decision.kind;
  });

test('without a policy a message is tried for ever, or goes to the dead-letter topic at once', (t) => {
  t.is(defaultPolicy(false)(1000, 500).kind, 'retry');
  t.is(defaultPolicy(true)(1, undefined).kind, 'dead-letter');
});

test('a constant retry waits the same each time and ends after so many tries', (t) => {
  t.deepEqual(waits(retryPolicy(retry({ maxRetries: 2 }), true), 4), [5000, 5000, 'dead-letter', 'dead-letter']);
  t.deepEqual(waits(retryPolicy(retry({ maxRetries: 2 }), false), 3), [5000, 5000, 'park']);
  t.deepEqual(waits(retryPolicy(retry({ maxRetries: 0 }), false), 1), ['park']);
  t.is(retryPolicy(retry(), false)(1_000_000, undefined).kind, 'retry');
});

test('an exponential retry grows by half, spread by half, up to its longest wait', (t) => {
  const at = (random: number): unknown[] =>
    waits(
      retryPolicy(retry({ backoff: { ...EXPONENTIAL, maxMs: 1500 } }), false, () => random),
      5,
    );
  t.deepEqual(at(0.5), [500, 750, 1125, 1500, 1500]);
  t.deepEqual(at(0), [250, 375, 563, 750, 750]);
  t.deepEqual(at(1), [750, 1125, 1688, 2250, 2250]);
});

test('the time of an exponential retry ends it where the message has somewhere to go', (t) => {
  const limited = retry({ backoff: EXPONENTIAL, retriesInTime: 3 });
  t.deepEqual(waits(retryPolicy(limited, true), 4).at(-1), 'dead-letter');
  t.is(retryPolicy(limited, false)(4, undefined).kind, 'retry');
  t.is(limitOf(limited), 3);
  t.is(limitOf(retry({ maxRetries: 2, retriesInTime: 3 })), 2);
});

test('as many waits fit into a time as add up to it', (t) => {
  t.is(retriesWithin(CONSTANT, 4999), 0);
  t.is(retriesWithin(CONSTANT, 15_000), 3);
  t.is(retriesWithin({ ...EXPONENTIAL, maxMs: 1_000_000 }, 500 + 750 + 1125), 3);
  t.is(retriesWithin({ ...EXPONENTIAL, maxMs: 1_000_000 }, 500 + 750 + 1124), 2);
  t.is(retriesWithin(EXPONENTIAL, 15 * 60_000), 24);
  t.is(retriesWithin({ ...CONSTANT, initialMs: 0, maxMs: 0 }, 1000), Infinity);
});

test('a code is retried when the list of its kind has it or there is none', (t) => {
  const listed = retry({ httpCodes: [[429, 429], [500, 599]], grpcCodes: [[14, 14]] }); // prettier-ignore
  for (const code of [429, 500, 550, 599, 14, undefined]) t.true(matches(listed, code), String(code));
  for (const code of [428, 404, 499, 13, 0, 17, 99, 600]) t.false(matches(listed, code), String(code));
  const http = retry({ httpCodes: [[500, 500]] });
  t.true(matches(http, 14));
  t.false(matches(http, 501));
  t.true(matches(retry(), 404));
  t.false(matches(retry(), 600), 'neither an HTTP status nor a gRPC code');
});

test('what is not retried for its code ends as what has been tried enough', (t) => {
  const policy = retry({ httpCodes: [[500, 500]] });
  t.is(retryPolicy(policy, true)(1, 404).kind, 'dead-letter');
  t.is(retryPolicy(policy, false)(1, 404).kind, 'park');
  t.is(retryPolicy(policy, false)(1, 500).kind, 'retry');
});
