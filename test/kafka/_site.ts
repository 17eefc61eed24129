/** What the tests on Kafka stand on. */

import { kafkaBroker } from '../../src/brokers/kafka/broker.ts';
import { opener } from '../_support/broker-site.ts';

/** Quick signs of life, so that no test waits long for a group; for the rest what a component has by default. */
export const QUICK = { authType: 'none', initialOffset: 'oldest', heartbeatInterval: '100ms', sessionTimeout: '3s' };
/** Who is killed is missed soon. For tests that may see an event twice: a busy machine may miss one that lives. */
export const MORTAL = { ...QUICK, sessionTimeout: '1s' };

export const openSite = opener(kafkaBroker, QUICK);
