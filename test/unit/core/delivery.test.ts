import test from 'ava';
import type { Broker, InboundMessage, OutboundMessage } from '../../../src/core/broker.ts';
import { createDelivery } from '../../../src/core/delivery.ts';
import type { Publisher, PubSub } from '../../../src/core/publisher.ts';
import type { Answer, Recipient } from '../../../src/core/recipient.ts';
import { defaultPolicy } from '../../../src/core/retry-policy.ts';
import type { SubscriptionSpec } from '../../../src/core/subscription.ts';
import { memoryLog } from '../config/_support.ts';

const MESSAGE: InboundMessage = {
  topic: 't',
  id: 'm1',
  attempt: 1,
  data: Buffer.from('{"id":"1"}'),
  contentType: '',
  metadata: {},
};

const SPEC: SubscriptionSpec = {
  name: '',
  kind: 'STREAMING',
  pubsubName: 'p',
  topic: 't',
  rules: [],
  metadata: {},
  deadLetterTopic: 'dead',
};
const NEVER = new AbortController().signal;

/** A delivery that gets this answer, to a topic that fails to the topic `dead`. */
function deliveryOf(answer: Answer, closing: AbortSignal) {
  const letters: OutboundMessage[] = [];
  const deliver = createDelivery({
    spec: SPEC,
    pubsub: { name: 'p', topicPrefix: '', broker: { features: new Set() } as unknown as Broker } as PubSub,
    router: { readsEvent: false, route: () => '/' },
    recipient: { deliver: async () => answer } as unknown as Recipient,
    policy: defaultPolicy(true),
    publisher: {
      forward: async (_pubsub: PubSub, _topic: string, letter: OutboundMessage) => letters.push(letter),
    } as unknown as Publisher,
    appId: 'app',
    notFound: 'drop',
    closing,
    onProcessed: () => undefined,
    onParked: () => undefined,
    log: memoryLog(),
  });
  return { letters, outcome: deliver(MESSAGE, NEVER) };
}

const POSTPONED: Answer = { kind: 'retry', reason: 'circuit breaker is open', afterMs: 70 };

test('what the app never saw is no attempt, and comes again when it was told to', async (t) => {
  t.deepEqual(await deliveryOf(POSTPONED, NEVER).outcome, { kind: 'retry', afterMs: 70, uncounted: true });
});

test('what comes back as its subscription ends is no attempt and no dead letter, and the next owner has it at once', async (t) => {
  for (const answer of [POSTPONED, { kind: 'retry', reason: 'failed' } as const]) {
    const { outcome, letters } = deliveryOf(answer, AbortSignal.abort());
    t.deepEqual(await outcome, { kind: 'retry', afterMs: 0, uncounted: true });
    t.deepEqual(letters, []);
  }
});

test('whatever goes wrong on the way, the message comes again and its handler ends', async (t) => {
  const log = memoryLog();
  const deliver = createDelivery({
    spec: SPEC,
    pubsub: { name: 'p', topicPrefix: '', broker: {} as Broker } as PubSub,
    router: { readsEvent: false, route: () => '/' },
    recipient: { deliver: () => Promise.reject(new Error('unforeseen')) } as unknown as Recipient,
    policy: defaultPolicy(true),
    publisher: {} as Publisher,
    appId: 'app',
    notFound: 'drop',
    closing: new AbortController().signal,
    onProcessed: () => undefined,
    onParked: () => undefined,
    log,
  });
  const outcome = await deliver(MESSAGE, new AbortController().signal);
  t.is(outcome.kind, 'retry');
  t.deepEqual(log.lines, ['error unexpected error while processing message m1 of topic t: unforeseen']);
});
