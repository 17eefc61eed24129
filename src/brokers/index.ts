import type { BrokerFactory } from '../core/broker.ts';
import { kafkaBroker } from './kafka/broker.ts';
import { memoryBroker } from './memory/broker.ts';
import { redisBroker } from './redis/broker.ts';
import { sqliteBroker } from './sqlite/broker.ts';

/** Every broker the sidecar can open. */
export const FACTORIES: readonly BrokerFactory[] = [kafkaBroker, memoryBroker, redisBroker, sqliteBroker];
