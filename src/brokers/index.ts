import type { BrokerFactory } from '../core/broker.ts';
import { kafkaBroker } from './kafka/broker.ts';
import { memoryBroker } from './memory/broker.ts';
import { pluggableBroker } from './pluggable/broker.ts';
import { redisBroker } from './redis/broker.ts';
import { sqliteBroker } from './sqlite/broker.ts';

/** Every broker that is built in. */
export const FACTORIES: readonly BrokerFactory[] = [kafkaBroker, memoryBroker, redisBroker, sqliteBroker];

/** The broker of a component type: a built-in one, or one that serves a socket in `socketsFolder`. */
export async function findBroker(type: string, socketsFolder: string): Promise<BrokerFactory | undefined> {
  return FACTORIES.find((factory) => factory.type === type) ?? pluggableBroker(type, socketsFolder);
}
