import test, { type ExecutionContext } from 'ava';
import { readResiliency } from '../../../src/config/resiliency.ts';
import type { Direction, Policy } from '../../../src/core/guard.ts';
import { loadText, memoryLog } from './_support.ts';

const resource = (name: string, spec: string): string =>
  `apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: { name: ${name} }\nspec:\n${spec}`;

/** What the specs of some resources come to; the first is called r1. */
async function read(t: ExecutionContext, ...specs: string[]) {
  const text = specs.map((spec, index) => resource(`r${index + 1}`, spec)).join('\n---\n');
  const log = memoryLog();
  const { resiliencies } = await loadText(t, text);
  t.is(resiliencies.length, specs.length);
  const policies = await readResiliency(resiliencies, log);
  return { ...policies, errors: log.lines.filter((line) => line.startsWith('error')), lines: log.lines };
}

/** A spec with one retry for outbound publishes of `pubsub`. */
const withRetry = (retry: string): string => `
  policies: { retries: { it: ${retry} } }
  targets: { components: { pubsub: { outbound: { retry: it } } } }`;
const withBreaker = (breaker: string): string => `
  policies: { circuitBreakers: { it: ${breaker} } }
  targets: { components: { pubsub: { inbound: { circuitBreaker: it } } } }`;

/** The names of policies, for comparing. */
const names = ({ timeout, retry, circuitBreaker }: Policy): (string | undefined)[] => [
  timeout?.name,
  retry?.name,
  circuitBreaker?.name,
];

test('without resources nothing is guarded', async (t) => {
  const { of, loaded } = await readResiliency([], memoryLog());
  t.deepEqual(of('pubsub', 'inbound'), {});
  t.deepEqual(loaded, []);
});

test('a resource is read in all its parts', async (t) => {
  const { of, loaded, lines } = await read(
    t,
    `
  policies:
    timeouts: { general: 5s, bare: 250, none: 0 }
    retries:
      slow: { policy: Exponential, maxInterval: 30s, maxRetries: 7, matching: { httpStatusCodes: "429,500-599", gRPCStatusCodes: 1-4 } }
    circuitBreakers:
      cb: { maxRequests: 3, interval: 10s, timeout: 20s, trip: consecutiveFailures >= 2 }
  targets:
    apps: { other: { timeout: unheard-of } }
    components:
      pubsub:
        outbound: { timeout: general, retry: slow, circuitBreaker: cb }
        inbound: { timeout: none }
      second: { inbound: { timeout: bare } }`,
  );
  t.deepEqual(lines, ['info Loading Resiliency configuration: r1']);
  t.deepEqual(loaded, ['r1']);
  const { timeout, retry, circuitBreaker } = of('pubsub', 'outbound');
  t.deepEqual(timeout, { name: 'general', resource: 'r1', value: 5000 });
  t.deepEqual(retry, {
    name: 'slow',
    resource: 'r1',
    value: {
      backoff: { initialMs: 500, factor: 1.5, maxMs: 30_000, jitter: 0.5 },
      maxRetries: 7,
      retriesInTime: 38,
      httpCodes: [[429, 429], [500, 599]], // prettier-ignore
      grpcCodes: [[1, 4]],
    },
  });
  const { trip, ...rest } = circuitBreaker?.value ?? t.fail();
  t.deepEqual(rest, { maxRequests: 3, intervalMs: 10_000, timeoutMs: 20_000 });
  const counts = { requests: 2, totalSuccesses: 0, totalFailures: 2, consecutiveSuccesses: 0 };
  t.true(trip({ ...counts, consecutiveFailures: 2 }));
  t.false(trip({ ...counts, consecutiveFailures: 1 }));
  t.deepEqual(of('pubsub', 'inbound'), {}, 'a timeout of 0 is none');
  t.is(of('second', 'inbound').timeout?.value, 250);
  t.deepEqual(of('third', 'inbound'), {});
});

test('what is not written has its default', async (t) => {
  const { of } = await read(
    t,
    withRetry('{}'),
    withBreaker('{ interval: 0s, timeout: 0, maxRequests: 0 }').replace('pubsub', 'other'),
  );
  t.deepEqual(of('pubsub', 'outbound').retry?.value, {
    backoff: { initialMs: 5000, factor: 1, maxMs: 5000, jitter: 0 },
    maxRetries: Infinity,
    retriesInTime: Infinity,
  });
  const { trip, ...rest } = of('other', 'inbound').circuitBreaker?.value ?? t.fail();
  t.deepEqual(rest, { maxRequests: 1, intervalMs: Infinity, timeoutMs: 60_000 });
  const counts = { requests: 6, totalSuccesses: 0, totalFailures: 6, consecutiveSuccesses: 0 };
  t.true(trip({ ...counts, consecutiveFailures: 6 }));
  t.false(trip({ ...counts, consecutiveFailures: 5 }));
});

for (const [retry, milliseconds] of [
  ['{ duration: 10ms }', 10],
  ['{ duration: 1m30s }', 90_000],
  ['{ duration: 1500 }', 1500],
  ['{ duration: 300us }', 1],
  ['{ duration: -5s }', 0],
  ['{ duration: 10000h }', 2 ** 30],
] as const) {
  test(`a retry ${retry} waits ${milliseconds} ms`, async (t) => {
    const { of } = await read(t, withRetry(retry));
    t.is(of('pubsub', 'outbound').retry?.value.backoff.initialMs, milliseconds);
  });
}

test('negative retries are no limit, none are none', async (t) => {
  for (const [maxRetries, expected] of [
    [-1, Infinity],
    [-7, Infinity],
    [0, 0],
    [3, 3],
  ]) {
    // prettier-ignore
    const { of } = await read(t, withRetry(`{ maxRetries: ${maxRetries} }`));
    t.is(of('pubsub', 'outbound').retry?.value.maxRetries, expected);
  }
});

test('empty parts of a list of codes do not count', async (t) => {
  const { of } = await read(t, withRetry('{ matching: { gRPCStatusCodes: "14,,2,", httpStatusCodes: "" } }'));
  const { grpcCodes, httpCodes } = of('pubsub', 'outbound').retry?.value ?? t.fail();
  t.deepEqual(grpcCodes, [[14, 14], [2, 2]]); // prettier-ignore
  t.is(httpCodes, undefined);
});

for (const [spec, reason] of [
  [
    withRetry('{ matching: { httpStatusCodes: 11 } }'),
    "spec.policies.retries.it.matching.httpStatusCodes: '11' is no code or range within 100-599",
  ],
  [
    withRetry('{ matching: { gRPCStatusCodes: 400 } }'),
    "spec.policies.retries.it.matching.gRPCStatusCodes: '400' is no code or range within 0-16",
  ],
  [
    withRetry('{ matching: { httpStatusCodes: "500, 501" } }'),
    "spec.policies.retries.it.matching.httpStatusCodes: ' 501' is no code or range within 100-599",
  ],
  [
    withRetry('{ matching: { httpStatusCodes: 599-500 } }'),
    "spec.policies.retries.it.matching.httpStatusCodes: '599-500' is no code or range within 100-599",
  ],
  [
    withRetry('{ matching: { gRPCStatusCodes: 1-2-3 } }'),
    "spec.policies.retries.it.matching.gRPCStatusCodes: '1-2-3' is no code or range within 0-16",
  ],
  [withRetry('{ policy: linear }'), "spec.policies.retries.it.policy is 'linear', neither constant nor exponential"],
  [withRetry('{ duration: soon }'), "spec.policies.retries.it.duration is 'soon', which is no duration"],
  [withRetry('{ maxRetries: many }'), 'spec.policies.retries.it.maxRetries is a text, not a whole number'],
  [withRetry('[1]'), 'spec.policies.retries.it is a list, not a mapping'],
  ['  policies: { retries: [1] }', 'spec.policies.retries is a list, not a mapping'],
  ['  policies: { timeouts: { it: 5 s } }', "spec.policies.timeouts.it is '5 s', which is no duration"],
  [
    withBreaker('{ trip: consecutiveFailure > 5 }'),
    "spec.policies.circuitBreakers.it.trip is 'consecutiveFailure > 5': Unknown variable: consecutiveFailure",
  ],
  [withBreaker('{ interval: x }'), "spec.policies.circuitBreakers.it.interval is 'x', which is no duration"],
] as const) {
  // prettier-ignore
  test(`refused: ${reason}`, async (t) => {
    const { errors, loaded, of } = await read(t, spec);
    t.deepEqual(errors, [`error Could not read resiliency policy r1: ${reason}`]);
    t.deepEqual(loaded, []);
    t.deepEqual(of('pubsub', 'outbound'), {});
  });
}

test('of a wrong resource what stands before the mistake counts, and the next one as a whole', async (t) => {
  const { of, loaded, errors } = await read(
    t,
    `
  policies:
    timeouts: { early: 1s }
    retries: { good: {}, bad: { policy: none }, late: {} }`,
    '  targets: { components: { pubsub: { inbound: { timeout: early, retry: good } }, other: { inbound: { retry: late } } } }',
  );
  t.deepEqual(names(of('pubsub', 'inbound')), ['early', 'good', undefined]);
  t.deepEqual(loaded, ['r2']);
  t.deepEqual(errors, [
    "error Could not read resiliency policy r1: spec.policies.retries.bad.policy is 'none', neither constant nor exponential",
    "error Could not read resiliency policy r2: spec.targets.components.other.inbound.retry is 'late', which is not defined",
  ]);
});

test('a later resource replaces policies and targets of the same name', async (t) => {
  const { of } = await read(
    t,
    `
  policies: { timeouts: { general: 1s } }
  targets: { components: { pubsub: { inbound: { timeout: general }, outbound: { timeout: general } } } }`,
    `
  policies: { timeouts: { general: 2s } }
  targets: { components: { pubsub: { inbound: { timeout: general } } } }`,
  );
  t.deepEqual(of('pubsub', 'inbound').timeout, { name: 'general', resource: 'r2', value: 2000 });
  t.deepEqual(of('pubsub', 'outbound'), {});
});

test('a target that names an unknown policy goes without that one', async (t) => {
  const { of, errors } = await read(
    t,
    `
  policies: { timeouts: { general: 1s } }
  targets: { components: { pubsub: { outbound: { timeout: general, retry: lost, circuitBreaker: General } } } }`,
  );
  t.deepEqual(names(of('pubsub', 'outbound')), ['general', undefined, undefined]);
  t.deepEqual(errors, [
    "error Could not read resiliency policy r1: spec.targets.components.pubsub.outbound.retry is 'lost', which is not defined",
    "error Could not read resiliency policy r1: spec.targets.components.pubsub.outbound.circuitBreaker is 'General', which is not defined",
  ]);
});

test('the most special of the default names guards a component without a target', async (t) => {
  const retries = ['', 'Component', 'ComponentOutbound', 'PubsubComponentOutbound'];
  const guarding = async (count: number, direction: Direction): Promise<string | undefined> => {
    const defined = retries.slice(0, count).map((level) => `Default${level}RetryPolicy: {}`);
    const { of } = await read(t, `  policies: { retries: { ${defined.join(', ')} } }`);
    return of('pubsub', direction).retry?.name;
  };
  t.is(await guarding(1, 'outbound'), 'DefaultRetryPolicy');
  t.is(await guarding(2, 'outbound'), 'DefaultComponentRetryPolicy');
  t.is(await guarding(3, 'outbound'), 'DefaultComponentOutboundRetryPolicy');
  t.is(await guarding(4, 'outbound'), 'DefaultPubsubComponentOutboundRetryPolicy');
  t.is(await guarding(4, 'inbound'), 'DefaultComponentRetryPolicy');
});

test('each kind of default is looked for by itself, and a target leaves both directions without', async (t) => {
  const { of } = await read(
    t,
    `
  policies:
    timeouts: { DefaultPubsubComponentInboundTimeoutPolicy: 1s }
    circuitBreakers: { DefaultCircuitBreakerPolicy: {} }
  targets: { components: { own: { outbound: { timeout: DefaultPubsubComponentInboundTimeoutPolicy } } } }`,
  );
  t.deepEqual(names(of('pubsub', 'inbound')), [
    'DefaultPubsubComponentInboundTimeoutPolicy',
    undefined,
    'DefaultCircuitBreakerPolicy',
  ]);
  t.deepEqual(of('own', 'inbound'), {});
});

test('how the app is asked at start may be said, but no less than three times more', async (t) => {
  const asked = async (retry: string) => {
    const text = `  policies: { retries: { DaprBuiltInInitializationRetries: ${retry} } }`;
    const { initRetry, lines } = await read(t, text);
    return { ...initRetry, warnings: lines.filter((line) => line.startsWith('warn')) };
  };
  t.like(await asked('{ duration: 10, maxRetries: 5 }'), { maxRetries: 5, backoff: { initialMs: 10 }, warnings: [] });
  t.like(await asked('{ maxRetries: 1 }'), {
    maxRetries: 3,
    warnings: [
      'warn Attempted override of DaprBuiltInInitializationRetries did not meet minimum retry count, resetting to 3.',
    ],
  });
});

test('a retry that Dapr uses for other building blocks is told to have no effect', async (t) => {
  const { lines } = await read(t, '  policies: { retries: { DaprBuiltInServiceRetries: { maxRetries: 5 } } }');
  t.is(lines.filter((line) => line.startsWith('warn')).length, 1);
});
