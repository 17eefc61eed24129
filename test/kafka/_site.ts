/** What the tests on Kafka stand on: brokers with their log, opened by a test and closed at its end. */

import type { ExecutionContext } from 'ava';
import { kafkaBroker } from '../../src/brokers/kafka/broker.ts';
import type { Broker, BrokerContext } from '../../src/core/broker.ts';
import type { Log } from '../../src/lib/log.ts';

export interface Site {
  readonly broker: Broker;
  /** What it logged, level first. */
  readonly lines: string[];
}

/** Quick signs of life, so that no test waits long for a group; for the rest what a component has by default. */
export const QUICK = { authType: 'none', initialOffset: 'oldest', heartbeatInterval: '100ms', sessionTimeout: '3s' };
/** Who is killed is missed soon. For tests that may see an event twice: a busy machine may miss one that lives. */
export const MORTAL = { ...QUICK, sessionTimeout: '1s' };

export async function openSite(
  t: ExecutionContext,
  settings: Readonly<Record<string, string>>,
  consumerId = 'team',
): Promise<Site> {
  const lines: string[] = [];
  const broker = await kafkaBroker.open({ ...QUICK, ...settings }, contextWith(lines, consumerId));
  t.teardown(() => broker.close());
  return { broker, lines };
}

const NEVER = new AbortController().signal;

export function contextWith(lines: string[], consumerId = 'team'): BrokerContext {
  const note = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  const log: Log = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    scoped: () => log,
  };
  return { name: 'pubsub', appId: consumerId, consumerId, consumerIdGiven: false, home: '', log, initSignal: NEVER };
}
