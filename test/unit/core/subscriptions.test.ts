import test from 'ava';
import type { Broker, Subscription } from '../../../src/core/broker.ts';
import type { PubSub } from '../../../src/core/publisher.ts';
import type { Recipient } from '../../../src/core/recipient.ts';
import type { SubscriptionSpec } from '../../../src/core/subscription.ts';
import { Subscriptions } from '../../../src/core/subscriptions.ts';
import { memoryLog } from '../config/_support.ts';

const SPEC: SubscriptionSpec = {
  name: '',
  kind: 'PROGRAMMATIC',
  pubsubName: 'pubsub',
  topic: 't',
  rules: [],
  metadata: {},
  deadLetterTopic: '',
};
const NEVER = new AbortController().signal;
const RECIPIENT = {} as Recipient;

/** Subscriptions on a broker that takes its time to open one, and how many are open. */
function slowlyOpened() {
  const opening = Promise.withResolvers<void>();
  let open = 0;
  const subscribe = async (): Promise<Subscription> => {
    await opening.promise;
    open++;
    let closing: Promise<void> | undefined;
    return { close: () => (closing ??= Promise.resolve().then(() => void open--)) };
  };
  const pubsub: PubSub = {
    name: 'pubsub',
    type: 'pubsub.slow',
    version: 'v1',
    topicPrefix: '',
    group: 'app',
    scopes: { mayPublish: () => true, maySubscribe: () => true },
    broker: { subscribe } as unknown as Broker,
  };
  const handler = () => Promise.resolve({ kind: 'success' } as const);
  const log = memoryLog();
  const subscriptions = new Subscriptions(new Map([['pubsub', pubsub]]), () => Promise.resolve(handler), log);
  return { subscriptions, log, opened: opening.resolve, count: () => open };
}

test('a subscription that opens while all are closed does not stay open', async (t) => {
  const { subscriptions, log, opened, count } = slowlyOpened();
  const reconciled = subscriptions.reconcile([SPEC], RECIPIENT, NEVER);
  await Promise.resolve();
  await subscriptions.close(AbortSignal.abort());
  opened();
  await reconciled;
  t.is(count(), 0);
  t.deepEqual(log.lines, []);
});

test('the same of one that its caller would close: the caller hears that it is over', async (t) => {
  const { subscriptions, opened, count } = slowlyOpened();
  const refused = t.throwsAsync(subscriptions.openOne(SPEC, RECIPIENT), { message: 'subscriber is closed' });
  await Promise.resolve();
  await subscriptions.close(AbortSignal.abort());
  opened();
  await refused;
  t.is(count(), 0);
});
