import type { BrokerFactory } from '../../core/broker.ts';
import { describeSettings } from '../../lib/settings.ts';
import { readSettings, SETTINGS } from './settings.ts';

/**
 * Topics as Redis Streams, written and read as Dapr's sidecar does, so that sidecars of both makes can share a stream
 * and a group. A message leaves the group's pending list only when it is settled.
 */
export const redisBroker: BrokerFactory = {
  type: 'pubsub.redis',
  async open(settings, context) {
    const options = readSettings(settings);
    const { RedisBroker } = await import('./redis-broker.ts'); // a sidecar without Redis does not pay for the client
    const broker = new RedisBroker(options, context);
    await broker.open(context.initSignal);
    return broker;
  },
  check: (settings) => void readSettings(settings),
  describe: () => describeSettings(SETTINGS),
};
