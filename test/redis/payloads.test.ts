/** Payloads that are too large, for the server or for what may be on its way. */

import test from 'ava';
import { text } from '../conformance/bench.ts';
import { RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

const MEBIBYTE = 2 ** 20;

test('a payload that is larger than the server takes costs nothing beside it, also in one bulk', async (t) => {
  const server = await RedisServer.start(t.teardown, ['--proto-max-bulk-len', '1mb']);
  const { broker } = await openSite(t, { redisHost: server.address });
  const large = { ...text(''), data: Buffer.alloc(2 * MEBIBYTE) };
  const together = [[text('a')], [large], [text('b'), large, text('c')], [text('d')]];
  const failures = await Promise.all(together.map((messages) => broker.publish('orders', messages)));
  t.deepEqual(
    failures.map((some) => some.map(({ index }) => index)),
    [[], [0], [1], []],
  );
  const reason =
    /from publish: 2097152 bytes of payload are more than the server takes \(proto-max-bulk-len 1048576\)$/;
  for (const { error } of failures.flat()) t.regex(error.message, reason);
  t.is(await server.ask('xlen', 'orders'), 4);
});

test('where the server does not tell its limits a payload that is too large fails, and publishes go on', async (t) => {
  const server = await RedisServer.start(t.teardown, ['--proto-max-bulk-len', '1mb']);
  await server.ask('acl', 'SETUSER', 'default', '-config');
  const { broker } = await openSite(t, { redisHost: server.address });
  const [failure] = await broker.publish('orders', [{ ...text(''), data: Buffer.alloc(2 * MEBIBYTE) }]);
  t.regex(failure?.error.message ?? '', /from publish: (the connection was closed|.*EPIPE|.*ECONNRESET|ERR Protocol)/);
  await until(async () => (await broker.publish('orders', [text('next')])).length === 0, 'what comes next is taken');
});

test('payloads beyond what may be on its way are refused, not kept', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address, readTimeout: '60s' });
  server.signal('SIGSTOP');
  const big = { ...text(''), data: Buffer.alloc(16 * MEBIBYTE) };
  const results = Promise.all(Array.from({ length: 6 }, () => broker.publish('big', [big])));
  server.signal('SIGCONT');
  const refused = (await results).flat();
  t.true(refused.length >= 1);
  t.true(refused.every(({ error }) => error.message.endsWith('too many messages are on their way')));
});
