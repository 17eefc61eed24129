/** What the tests on Redis stand on. */

import { redisBroker } from '../../src/brokers/redis/broker.ts';
import { opener } from '../_support/broker-site.ts';

export const openSite = opener(redisBroker);
