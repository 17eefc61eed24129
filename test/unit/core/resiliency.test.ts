import test from 'ava';
import type { Policy } from '../../../src/core/guard.ts';
import type { Answer, Recipient, TopicEvent } from '../../../src/core/recipient.ts';
import { NO_POLICIES, Resiliency } from '../../../src/core/resiliency.ts';
import { sleep } from '../../../src/lib/sleep.ts';
import { until } from '../../_support/until.ts';
import { memoryLog } from '../config/_support.ts';
import { AT_ONCE, breaker, brokerOf, codeOf, coded, defined, messages, resiliencyWith, retry } from './_guarding.ts';

const SUCCESS: Answer = { kind: 'success' };
const FAILED: Answer = { kind: 'retry', reason: 'status code returned: 500', code: 500 };
const EVENT: TopicEvent = {
  pubsubName: 'pubsub',
  topic: 'orders',
  path: '/orders',
  body: Buffer.from('{}'),
  members: [],
  metadata: {},
  traceparent: '',
  tracestate: '',
  baggage: '',
};
const never = (): AbortSignal => new AbortController().signal;

/** A recipient that answers as told and counts. */
function recipientOf(answer: (signal: AbortSignal) => Answer | Promise<Answer>) {
  const seen = { calls: 0 };
  const recipient: Recipient = {
    deliver: async (_event, signal) => {
      seen.calls++;
      return answer(signal);
    },
    deliverBulk: async (events, signal) => {
      seen.calls++;
      return Promise.all(events.map(async () => answer(signal)));
    },
  };
  return { recipient, seen };
}

test('without a policy deliveries and publishes are made as they are', async (t) => {
  const { resiliency, told, lines } = resiliencyWith({});
  const { recipient, seen } = recipientOf(() => FAILED);
  const { policy, wrap } = resiliency.inbound('pubsub', false);
  t.is(await wrap(recipient).deliver(EVENT, never()), FAILED);
  t.is(policy(100, 500).kind, 'retry');
  t.is(resiliency.inbound('pubsub', true).policy(1, 500).kind, 'dead-letter');
  const { publish, sent } = brokerOf(() => coded(14));
  t.is((await resiliency.publish('pubsub', messages(2), publish, { codeOf })).length, 2);
  t.is(seen.calls, 1);
  t.is(sent.length, 1);
  t.deepEqual([...told, ...lines], []);
});

test('deliveries are retried as the inbound retry says, and told of once a message', (t) => {
  const { resiliency, lines, told } = resiliencyWith({ retry: defined('it', retry({ maxRetries: 2 })) });
  const { policy } = resiliency.inbound('pubsub', true);
  t.deepEqual(
    [1, 2, 3].map((attempt) => policy(attempt, 500)),
    [{ kind: 'retry', afterMs: 1 }, { kind: 'retry', afterMs: 1 }, { kind: 'dead-letter' }],
  );
  t.deepEqual(resiliency.inbound('pubsub', false).policy(3, 500), { kind: 'park' });
  t.deepEqual(lines, ['warn Error processing operation component[pubsub] input. Retrying in 1ms…']);
  t.deepEqual(told, ['activated retry inbound pubsub', 'activated retry inbound pubsub']);
});

test('a delivery that takes too long is aborted and comes again', async (t) => {
  const { resiliency, told } = resiliencyWith({ timeout: defined('short', 20) });
  const aborted: unknown[] = [];
  const { recipient } = recipientOf(async (signal) => {
    await sleep(60_000, signal);
    aborted.push(signal.aborted);
    return FAILED;
  });
  const guarded = resiliency.inbound('pubsub', false).wrap(recipient);
  const late: Answer = { kind: 'retry', reason: 'context deadline exceeded' };
  t.deepEqual(await guarded.deliver(EVENT, never()), late);
  t.deepEqual(await guarded.deliverBulk([EVENT, EVENT], never()), [late, late]);
  await until(() => aborted.length === 3, 'the recipient hears of it');
  t.deepEqual(told, [
    'applied timeout inbound pubsub',
    'activated timeout inbound pubsub',
    'applied timeout inbound pubsub',
    'activated timeout inbound pubsub',
  ]);
});

test('a recipient that does not hear of the timeout is not waited for', async (t) => {
  const { resiliency } = resiliencyWith({ timeout: defined('short', 20) });
  const { recipient } = recipientOf(() => new Promise<Answer>(() => undefined));
  const answer = await resiliency.inbound('pubsub', false).wrap(recipient).deliver(EVENT, never());
  t.is(answer.kind, 'retry');
});

test('the abort of a delivery reaches the recipient under a timeout, and answers in time are left alone', async (t) => {
  const { resiliency } = resiliencyWith({ timeout: defined('long', 60_000) });
  const { recipient } = recipientOf(async (signal) => {
    await sleep(60_000, signal);
    return { kind: 'retry', reason: 'given up' };
  });
  const abort = new AbortController();
  const { wrap } = resiliency.inbound('pubsub', false);
  const answer = wrap(recipient).deliver(EVENT, abort.signal);
  abort.abort();
  t.deepEqual(await answer, { kind: 'retry', reason: 'given up' });
  t.is(await wrap(recipientOf(() => SUCCESS).recipient).deliver(EVENT, never()), SUCCESS);
});

test('while the inbound breaker is open the app is left alone and events come again when it half-opens', async (t) => {
  const { resiliency, lines, told, pass } = resiliencyWith({ circuitBreaker: defined('cb', AT_ONCE) });
  let reply: Answer = FAILED;
  const { recipient, seen } = recipientOf(() => reply);
  const guarded = resiliency.inbound('pubsub', false).wrap(recipient);
  t.is(await guarded.deliver(EVENT, never()), FAILED);
  pass(20_000);
  const postponed: Answer = { kind: 'retry', reason: 'circuit breaker is open', afterMs: 40_000 };
  t.deepEqual(await guarded.deliver(EVENT, never()), postponed);
  t.deepEqual(await guarded.deliverBulk([EVENT, EVENT], never()), [postponed, postponed]);
  t.is(seen.calls, 1);
  pass(40_000);
  reply = SUCCESS;
  t.is(await guarded.deliver(EVENT, never()), SUCCESS);
  t.deepEqual(lines, [
    'warn Circuit breaker "cb-pubsub" changed state from closed to open',
    'info Circuit breaker "cb-pubsub" changed state from open to half-open',
    'info Circuit breaker "cb-pubsub" changed state from half-open to closed',
  ]);
  t.deepEqual(told.slice(0, 3), [
    'applied circuitbreaker inbound pubsub closed',
    'activated circuitbreaker inbound pubsub open',
    'applied circuitbreaker inbound pubsub open',
  ]);
});

test('while one event finds out whether the app is back, others come again soon', async (t) => {
  const { resiliency, pass } = resiliencyWith({ circuitBreaker: defined('cb', AT_ONCE) });
  const { wrap } = resiliency.inbound('pubsub', false);
  await wrap(recipientOf(() => FAILED).recipient).deliver(EVENT, never());
  pass(60_000);
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const probing = wrap(recipientOf(() => promise).recipient).deliver(EVENT, never());
  const answer = await wrap(recipientOf(() => SUCCESS).recipient).deliver(EVENT, never());
  t.deepEqual(answer, { kind: 'retry', reason: 'too many requests', afterMs: 1000 });
  resolve(SUCCESS);
  t.is(await probing, SUCCESS);
});

for (const [what, answer] of [
  ['dropped', { kind: 'drop' }],
  ['not known to the app', { kind: 'not-found', reason: 'status code returned: 404', code: 404 }],
] as [string, Answer][]) {
  test(`an event that is ${what} does not count as a failure of the app`, async (t) => {
    const { resiliency, lines } = resiliencyWith({ circuitBreaker: defined('cb', AT_ONCE) });
    const guarded = resiliency.inbound('pubsub', false).wrap(recipientOf(() => answer).recipient);
    t.is(await guarded.deliver(EVENT, never()), answer);
    t.is(await guarded.deliver(EVENT, never()), answer);
    t.deepEqual(lines, []);
  });
}

test('a timeout counts as a failure, a delivery that was called off does not, a batch fails with one of its events', async (t) => {
  const states = async (deliver: (guarded: Recipient) => Promise<unknown>, recipient: Recipient, policy: Policy) => {
    const { resiliency, lines } = resiliencyWith({ ...policy, circuitBreaker: defined('cb', AT_ONCE) });
    await deliver(resiliency.inbound('pubsub', false).wrap(recipient));
    return lines.length;
  };
  const mute = recipientOf(() => new Promise<Answer>(() => undefined)).recipient;
  t.is(await states((one) => one.deliver(EVENT, never()), mute, { timeout: defined('short', 10) }), 1);
  const failing = recipientOf(() => FAILED).recipient;
  t.is(await states((one) => one.deliver(EVENT, AbortSignal.abort()), failing, {}), 0);
  let nth = 0;
  const mixed = recipientOf(() => (++nth === 2 ? FAILED : SUCCESS)).recipient;
  t.is(await states((one) => one.deliverBulk([EVENT, EVENT, EVENT], never()), mixed, {}), 1);
});

test('an app that fails its events does not keep it from publishing, nor one component another', async (t) => {
  const { resiliency } = resiliencyWith({ circuitBreaker: defined('cb', AT_ONCE) });
  const { recipient } = recipientOf(() => FAILED);
  await resiliency.inbound('pubsub', false).wrap(recipient).deliver(EVENT, never());
  const { publish, sent } = brokerOf(() => undefined);
  t.deepEqual(await resiliency.publish('pubsub', messages(1), publish, { codeOf }), []);
  t.is(await resiliency.inbound('other', false).wrap(recipient).deliver(EVENT, never()), FAILED);
  t.is(sent.length, 1);
});

test('all subscriptions of a component share its breaker', async (t) => {
  const { resiliency } = resiliencyWith({ circuitBreaker: defined('cb', AT_ONCE) });
  const { recipient, seen } = recipientOf(() => FAILED);
  await resiliency.inbound('pubsub', false).wrap(recipient).deliver(EVENT, never());
  await resiliency.inbound('pubsub', true).wrap(recipient).deliver(EVENT, never());
  t.is(seen.calls, 1);
});

test('policies that change count from the next delivery on, for subscriptions that run', async (t) => {
  const { resiliency } = resiliencyWith({ circuitBreaker: defined('cb', AT_ONCE) });
  const { recipient } = recipientOf(() => FAILED);
  const { policy, wrap } = resiliency.inbound('pubsub', true);
  const guarded = wrap(recipient);
  await guarded.deliver(EVENT, never());
  t.is(((await guarded.deliver(EVENT, never())) as { reason: string }).reason, 'circuit breaker is open');
  t.is(policy(1, 500).kind, 'dead-letter');
  resiliency.use({ ...NO_POLICIES, of: () => ({ retry: defined('it', retry()) }) });
  t.is(await guarded.deliver(EVENT, never()), FAILED);
  t.is(policy(1, 500).kind, 'retry');
});

test('what is told of a policy in one state is always the same object', async (t) => {
  const uses = new Map<object, number>();
  const resiliency = new Resiliency({
    log: memoryLog(),
    onPolicy: (_event, use) => uses.set(use, (uses.get(use) ?? 0) + 1),
  });
  const policy = { timeout: defined('long', 60_000), circuitBreaker: defined('cb', breaker()) };
  resiliency.use({ ...NO_POLICIES, of: () => policy });
  const guarded = resiliency.inbound('pubsub', false).wrap(recipientOf(() => SUCCESS).recipient);
  for (let i = 0; i < 3; i++) await guarded.deliver(EVENT, never());
  t.deepEqual(
    [...uses],
    [
      [{ resource: 'r1', kind: 'timeout', direction: 'inbound', component: 'pubsub', status: '' }, 3],
      [{ resource: 'r1', kind: 'circuitbreaker', direction: 'inbound', component: 'pubsub', status: 'closed' }, 3],
    ],
  );
});
