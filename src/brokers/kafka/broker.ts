import type { BrokerFactory } from '../../core/broker.ts';
import { unlessAborted } from '../../lib/deadline.ts';
import { describeSettings } from '../../lib/settings.ts';
import { readSettings, SETTINGS } from './settings.ts';

/**
 * Topics of Apache Kafka, written and read as Dapr's sidecar does: the same partitions for keys, the same headers, the
 * same names for sharing out partitions, so that sidecars of both makes can be in one group.
 */
export const kafkaBroker: BrokerFactory = {
  type: 'pubsub.kafka',
  async open(settings, context) {
    const options = readSettings(settings);
    const { KafkaBroker } = await import('./kafka-broker.ts'); // a sidecar without Kafka does not pay for the client
    const broker = new KafkaBroker(options, context);
    const giveUp = (): void => void broker.close().catch(() => undefined);
    await unlessAborted(context.initSignal, giveUp, broker.open());
    return broker;
  },
  check: (settings) => void readSettings(settings),
  describe: () => describeSettings(SETTINGS),
};
