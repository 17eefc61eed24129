/** What the tests on Kafka stand on. */

import type { ExecutionContext } from 'ava';
import kafkajs from 'kafkajs';
import { kafkaBroker } from '../../src/brokers/kafka/broker.ts';
import { opener } from '../_support/broker-site.ts';
import { until } from '../_support/until.ts';
import { publish, Recorder, subscribe } from '../conformance/bench.ts';

/** Quick signs of life, so that no test waits long for a group; for the rest what a component has by default. */
export const QUICK = { authType: 'none', initialOffset: 'oldest', heartbeatInterval: '100ms', sessionTimeout: '3s' };
/** Who is killed is missed soon. For tests that may see an event twice: a busy machine may miss one that lives. */
export const MORTAL = { ...QUICK, sessionTimeout: '1s' };

export const openSite = opener(kafkaBroker, QUICK);

/** What everybody may do with a topic, or may not. */
export const ruleOf = (resourceName: string, operation: number, permissionType: number) => ({
  resourceType: kafkajs.AclResourceTypes.TOPIC,
  resourceName,
  resourcePatternType: kafkajs.ResourcePatternTypes.LITERAL,
  principal: 'User:ANONYMOUS',
  host: '*',
  operation,
  permissionType,
});

let trips = 0;

/** These settings get in: a message goes there and back, and another after `meanwhile`. */
export async function roundTrip(
  t: ExecutionContext,
  settings: Record<string, string>,
  meanwhile?: () => unknown,
): Promise<void> {
  const { broker } = await openSite(t, settings);
  const recorder = new Recorder();
  const topic = `trip-${++trips}`;
  await subscribe(broker, topic, recorder);
  await publish(broker, topic, 'x');
  await until(() => recorder.messages.length === 1, 'it arrived');
  if (meanwhile) {
    await until(meanwhile, 'time has passed');
    await publish(broker, topic, 'y');
    await until(() => recorder.messages.length === 2, 'the second arrived');
  }
  t.deepEqual(recorder.texts, meanwhile ? ['x', 'y'] : ['x']);
}

/** These do not. */
export const refused = (t: ExecutionContext, settings: Record<string, string>, message: RegExp): Promise<unknown> =>
  t.throwsAsync(openSite(t, settings), { message });
