import { NOT_SOON_MS, startCluster } from '../_support/redis.ts';
import { conformOnRedis } from './redis.ts';

conformOnRedis('redis cluster', async (atEnd) => {
  const masters = await startCluster(atEnd, NOT_SOON_MS);
  const redisHost = masters.map(({ address }) => address).join(',');
  return { settings: { redisHost, redisType: 'cluster' }, masters };
});
