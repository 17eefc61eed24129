import { RedisServer } from '../_support/redis.ts';
import { conformOnRedis } from './redis.ts';

conformOnRedis('redis', async (atEnd) => {
  const server = await RedisServer.start(atEnd);
  return { settings: { redisHost: server.address }, masters: [server] };
});
