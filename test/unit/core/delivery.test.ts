import test from 'ava';
import type { InboundMessage, Broker } from '../../../src/core/broker.ts';
import { createDelivery } from '../../../src/core/delivery.ts';
import type { Publisher, PubSub } from '../../../src/core/publisher.ts';
import type { Recipient } from '../../../src/core/recipient.ts';
import { defaultPolicy } from '../../../src/core/retry-policy.ts';
import { memoryLog } from '../config/_support.ts';

const MESSAGE: InboundMessage = {
  topic: 't',
  id: 'm1',
  attempt: 1,
  data: Buffer.from('{"id":"1"}'),
  contentType: '',
  metadata: {},
};

test('whatever goes wrong on the way, the message comes again and its handler ends', async (t) => {
  const log = memoryLog();
  const deliver = createDelivery({
    spec: {
      name: '',
      kind: 'STREAMING',
      pubsubName: 'p',
      topic: 't',
      rules: [],
      metadata: {},
      deadLetterTopic: 'dead',
    },
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
