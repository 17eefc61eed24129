import test from 'ava';
import {
  CircuitBreaker,
  compileTrip,
  DEFAULT_TRIP,
  type BreakerSettings,
  type Counts,
  type Verdict,
} from '../../../src/core/circuit-breaker.ts';

/** A breaker with a clock of its own, and what happened to it. */
function breakerOf(settings: Partial<BreakerSettings> = {}) {
  const changes: string[] = [];
  let ms = 0;
  const breaker = new CircuitBreaker(
    { maxRequests: 1, intervalMs: Infinity, timeoutMs: 60_000, trip: DEFAULT_TRIP, ...settings },
    (from, to) => changes.push(`${from} to ${to}`),
    () => ms,
  );
  const run = (call: () => Promise<Verdict>): Promise<string> =>
    breaker.run<string>(
      call,
      (result) => result as Verdict,
      ({ reason, afterMs }) => `${reason}, ${afterMs} ms`,
    );
  return {
    breaker,
    changes,
    run,
    pass: (more: number) => void (ms += more),
    /** Calls that are through at once; what they were answered. */
    calls: async (verdict: Verdict, times = 1): Promise<string[]> => {
      const answers: string[] = [];
      for (let i = 0; i < times; i++) answers.push(await run(async () => verdict));
      return answers;
    },
    /** A call in flight. */
    begin: () => {
      const { promise, resolve } = Promise.withResolvers<Verdict>();
      const done = run(() => promise);
      return async (verdict: Verdict): Promise<string> => {
        resolve(verdict);
        return done;
      };
    },
  };
}

test('by default the sixth failure in a row opens it', async (t) => {
  const { breaker, changes, calls } = breakerOf();
  await calls('failure', 5);
  await calls('success');
  await calls('failure', 5);
  t.is(breaker.state, 'closed');
  await calls('failure');
  t.is(breaker.state, 'open');
  t.deepEqual(changes, ['closed to open']);
});

test('while open nothing is called, and it says when to come again', async (t) => {
  const { calls, run, pass } = breakerOf({ timeoutMs: 1000 });
  await calls('failure', 6);
  pass(300);
  const answer = await run(() => {
    throw new Error('called');
  });
  t.is(answer, 'circuit breaker is open, 700 ms');
});

test('after its timeout it lets as many through as it may, and closes when they succeed', async (t) => {
  const { breaker, changes, calls, begin, pass } = breakerOf({ maxRequests: 2 });
  await calls('failure', 6);
  pass(60_000);
  const [first, second] = [begin(), begin()];
  t.is(breaker.state, 'half-open');
  t.deepEqual(await calls('success'), ['too many requests, 1000 ms']);
  await first('success');
  t.is(breaker.state, 'half-open');
  await second('success');
  t.is(breaker.state, 'closed');
  t.deepEqual(changes, ['closed to open', 'open to half-open', 'half-open to closed']);
  t.deepEqual(await calls('success'), ['success']);
});

test('one failure while half-open opens it for another timeout', async (t) => {
  const { breaker, calls, pass } = breakerOf();
  await calls('failure', 6);
  pass(60_000);
  await calls('failure');
  t.is(breaker.state, 'open');
  t.deepEqual(await calls('success'), ['circuit breaker is open, 60000 ms']);
});

test('a call that ends in a later state than it began in does not count', async (t) => {
  const { breaker, calls, begin, pass } = breakerOf();
  const [late, later] = [begin(), begin()];
  await calls('failure', 6);
  await late('success');
  t.is(breaker.state, 'open');
  pass(60_000);
  await later('failure');
  t.is(breaker.state, 'half-open');
  t.deepEqual(await calls('success'), ['success']);
  t.is(breaker.state, 'closed');
});

test('a call that was abandoned gives its place back and says nothing', async (t) => {
  const { breaker, calls, begin, pass } = breakerOf();
  await calls('failure', 5);
  await calls('abandoned');
  t.is(breaker.state, 'closed');
  await calls('failure');
  pass(60_000);
  await begin()('abandoned');
  t.is(breaker.state, 'half-open');
  t.deepEqual(await calls('success'), ['success']);
});

test('a call that throws is a failure and throws on', async (t) => {
  const { breaker, calls, run } = breakerOf();
  await calls('failure', 5);
  await t.throwsAsync(
    run(() => Promise.reject(new Error('broken'))),
    { message: 'broken' },
  );
  t.is(breaker.state, 'open');
});

test('with an interval failures of an earlier one do not count', async (t) => {
  const { breaker, calls, pass, changes } = breakerOf({ intervalMs: 1000 });
  await calls('failure', 5);
  pass(1000);
  await calls('failure', 5);
  t.is(breaker.state, 'closed');
  t.deepEqual(changes, []);
  await calls('failure');
  t.is(breaker.state, 'open');
});

const COUNTS: Counts = {
  requests: 10,
  totalSuccesses: 4,
  totalFailures: 6,
  consecutiveSuccesses: 0,
  consecutiveFailures: 3,
};

test('a trip is CEL over the counts', async (t) => {
  const trips = async (source: string, counts: Partial<Counts> = {}): Promise<boolean> =>
    (await compileTrip(source, 'trip'))({ ...COUNTS, ...counts });
  t.true(await trips('consecutiveFailures > 2'));
  t.false(await trips('consecutiveFailures > 3'));
  t.true(await trips('requests >= 10 && totalFailures * 2 > requests'));
  t.true(await trips('double(totalFailures) / double(requests) >= 0.6'));
  t.true(await trips('totalSuccesses == 4 && consecutiveSuccesses == 0'));
});

test('a trip that cannot be evaluated for the counts does not trip', async (t) => {
  const trip = await compileTrip('totalFailures / totalSuccesses > 1', 'trip');
  t.false(trip({ ...COUNTS, totalSuccesses: 0 }));
  t.true(trip({ ...COUNTS, totalSuccesses: 3 }));
});

for (const source of ['consecutiveFailures >', 'consecutiveFailure > 5', 'requests', 'requests + "a" == "b"']) {
  test(`the trip '${source}' is refused by its place`, async (t) => {
    const error = await t.throwsAsync(compileTrip(source, 'breaker.trip'));
    t.true(error.message.startsWith(`breaker.trip is '${source}': `), error.message);
    t.notRegex(error.message, /\n/);
  });
}
