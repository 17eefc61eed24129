import test from 'ava';
import { publishCode } from '../../../src/core/publish-code.ts';
import { until } from '../../_support/until.ts';
import { breaker, brokerOf, codeOf, coded, defined, messages, resiliencyWith, retry } from './_guarding.ts';

test('a publish is tried again until it succeeds, and only what failed is sent again', async (t) => {
  const { resiliency, lines, told } = resiliencyWith({ retry: defined('it', retry()) });
  const { publish, sent } = brokerOf((message, attempt) => (message >= attempt ? coded(14) : undefined));
  t.deepEqual(await resiliency.publish('pubsub', messages(4), publish, { codeOf }), []);
  t.deepEqual(sent, [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3]]);
  t.deepEqual(lines, [
    'warn Error processing operation component[pubsub] output. Retrying in 1ms…',
    'info Recovered processing operation component[pubsub] output after 4 attempts',
  ]);
  t.deepEqual(told, ['applied retry outbound pubsub', ...Array<string>(3).fill('activated retry outbound pubsub')]);
});

test('a publish that fails to the end is told with its last errors, in order', async (t) => {
  const { resiliency, lines } = resiliencyWith({ retry: defined('it', retry({ maxRetries: 2 })) });
  const { publish, sent } = brokerOf((message, attempt) =>
    message === 1 ? undefined : new Error(`${message} failed ${attempt}`),
  );
  const failures = await resiliency.publish('pubsub', messages(3), publish, { codeOf });
  t.deepEqual(
    failures.map(({ index, error }) => [index, error.message]),
    [
      [0, '0 failed 3'],
      [2, '2 failed 3'],
    ],
  );
  t.is(sent.length, 3);
  t.is(lines.length, 1);
});

test('what does not match is not sent again, the rest is', async (t) => {
  const { resiliency } = resiliencyWith({ retry: defined('it', retry({ grpcCodes: [[14, 14]] })) });
  const { publish, sent } = brokerOf((message, attempt) =>
    message === 0 ? coded(9) : attempt === 1 ? coded(14) : undefined,
  );
  const failures = await resiliency.publish('pubsub', messages(2), publish, { codeOf });
  t.deepEqual(sent, [[0, 1], [1]]);
  t.deepEqual(
    failures.map(({ index, error }) => [index, error.message]),
    [[0, 'code 9']],
  );
});

test('with matching, a retriable code makes four attempts of three retries and another code one', async (t) => {
  const { resiliency } = resiliencyWith({ retry: defined('it', retry({ grpcCodes: [[14, 14]] })) });
  for (const [code, attempts] of [
    [14, 4],
    [9, 1],
  ] as const) {
    // prettier-ignore
    const { publish, sent } = brokerOf(() => coded(code));
    await resiliency.publish('pubsub', messages(1), publish, { codeOf });
    t.is(sent.length, attempts, String(code));
  }
  const { publish, sent } = brokerOf(() => new Error('without a code'));
  await resiliency.publish('pubsub', messages(1), publish, { codeOf: () => undefined });
  t.is(sent.length, 4);
});

test('a publish that takes too long is tried again, whatever matches', async (t) => {
  const { resiliency } = resiliencyWith({
    timeout: defined('short', 10),
    retry: defined('it', retry({ maxRetries: 1, grpcCodes: [] })),
  });
  let calls = 0;
  const publish = () => new Promise<never>(() => calls++);
  const failures = await resiliency.publish('pubsub', messages(2), publish, { codeOf });
  t.deepEqual(
    failures.map(({ index, error }) => [index, error.message]),
    [
      [0, 'context deadline exceeded'],
      [1, 'context deadline exceeded'],
    ],
  );
  t.is(calls, 2);
});

test('an open breaker ends the retries of a publish and refuses the next one', async (t) => {
  const { resiliency } = resiliencyWith({
    retry: defined('it', retry({ maxRetries: Infinity })),
    circuitBreaker: defined('cb', breaker({ trip: ({ consecutiveFailures }) => consecutiveFailures > 1 })),
  });
  const { publish, sent } = brokerOf(() => coded(14));
  for (let i = 0; i < 2; i++) {
    const failures = await resiliency.publish('pubsub', messages(1), publish, { codeOf });
    t.deepEqual(
      failures.map(({ error }) => error.message),
      ['circuit breaker is open'],
    );
  }
  t.is(sent.length, 2);
});

test('an abort ends the waiting for another attempt with what failed', async (t) => {
  const { resiliency, told } = resiliencyWith({
    retry: defined('it', retry({ backoff: { initialMs: 60_000, factor: 1, maxMs: 60_000, jitter: 0 } })),
  });
  const { publish, sent } = brokerOf(() => coded(14));
  const abort = new AbortController();
  const publishing = resiliency.publish('pubsub', messages(1), publish, { codeOf, signal: abort.signal });
  await until(() => told.length === 2, 'it waits');
  abort.abort();
  t.is((await publishing).length, 1);
  t.is(sent.length, 1);
});

test('a failed publish has the gRPC code of the broker, over HTTP the status it stands for', (t) => {
  t.is(publishCode(new Error('no connection'), 'grpc'), 14);
  t.is(publishCode(new Error('no connection'), 'http'), 503);
  t.is(publishCode(Object.assign(new Error(), { code: 'ECONNREFUSED' }), 'http'), 503);
  for (const [code, status] of [
    [8, 429],
    [9, 400],
    [5, 404],
    [16, 401],
    [4, 504],
    [99, 500],
  ] as const) {
    // prettier-ignore
    t.is(publishCode(coded(code), 'grpc'), code);
    t.is(publishCode(coded(code), 'http'), status);
  }
});
