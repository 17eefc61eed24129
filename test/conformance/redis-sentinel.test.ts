import { NOT_SOON_MS, startSentinels } from '../_support/redis.ts';
import { conformOnRedis } from './redis.ts';

conformOnRedis('redis behind sentinels', async (atEnd) => {
  const { master, sentinels, name } = await startSentinels(atEnd, NOT_SOON_MS);
  return { settings: { redisHost: sentinels, failover: 'true', sentinelMasterName: name }, masters: [master] };
});
