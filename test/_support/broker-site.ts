/** Brokers with their log, opened by a test and closed at its end. */

import type { ExecutionContext } from 'ava';
import type { Broker, BrokerContext, BrokerFactory } from '../../src/core/broker.ts';
import type { Log } from '../../src/lib/log.ts';
import { NEVER } from '../conformance/bench.ts';

export interface Site {
  readonly broker: Broker;
  /** What it logged, level first. */
  readonly lines: string[];
}

type Settings = Readonly<Record<string, string>>;

/** Opens brokers of one kind, with `always` beneath the settings of a test. */
export function opener(factory: BrokerFactory, always: Settings = {}) {
  return async (t: ExecutionContext, settings: Settings, consumerId = 'team'): Promise<Site> => {
    const lines: string[] = [];
    const broker = await factory.open({ ...always, ...settings }, contextWith(lines, consumerId));
    t.teardown(() => broker.close());
    return { broker, lines };
  };
}

export function contextWith(lines: string[], consumerId = 'team', initSignal = NEVER): BrokerContext {
  const note = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  const log: Log = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    scoped: () => log,
  };
  return { name: 'pubsub', appId: consumerId, consumerId, consumerIdGiven: false, home: '', log, initSignal };
}
