import test from 'ava';
import { readFileSync } from 'node:fs';
import { redisBroker } from '../../src/brokers/redis/broker.ts';
import { publish, Recorder, subscribe } from '../conformance/bench.ts';
import { connectionsTo, makeCertificates, RedisServer, startCluster } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { contextWith } from '../_support/broker-site.ts';
import { openSite } from './_site.ts';

const refused = (settings: Record<string, string>): Promise<unknown> => redisBroker.open(settings, contextWith([]));

test('a wrong password, or none, is said at once', async (t) => {
  const server = await RedisServer.start(t.teardown, ['--requirepass', 'right'], { password: 'right' });
  const { address } = server;
  await t.throwsAsync(refused({ redisHost: address, redisPassword: 'wrong' }), {
    message: `redis streams: error connecting to redis at ${address}: WRONGPASS invalid username-password pair or user is disabled.`,
  });
  await t.throwsAsync(refused({ redisHost: address }), {
    message: new RegExp(`^redis streams: error connecting to redis at ${address}: NOAUTH `),
  });
  const { broker } = await openSite(t, { redisHost: address, redisPassword: 'right' });
  await t.notThrowsAsync(broker.ping());
});

test('a database that does not exist is said at once', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await t.throwsAsync(refused({ redisHost: server.address, redisDB: '99' }), { message: /DB index is out of range/ });
});

test('a server that is not there yet is waited for, with one line in the log', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await server.kill();
  const lines: string[] = [];
  const opening = redisBroker.open({ redisHost: server.address }, contextWith(lines));
  await until(() => lines.length > 0, 'it says that it waits');
  await server.start();
  const broker = await opening;
  t.teardown(() => broker.close());
  await t.notThrowsAsync(broker.ping());
  t.regex(lines[0] ?? '', /^warn redis at 127\.0\.0\.1:\d+ cannot be reached, trying again: connect ECONNREFUSED/);
  t.true(lines.length === 2 && /^info redis at 127\.0\.0\.1:\d+ is back after /.test(lines[1] ?? ''));
});

test('opening is given up when told so, alone, behind Sentinels and in a cluster, be the server absent or hanging', async (t) => {
  const [absent, hanging] = await Promise.all([RedisServer.start(t.teardown), RedisServer.start(t.teardown)]);
  await absent.kill();
  hanging.signal('SIGSTOP');
  const kinds = [{}, { redisType: 'cluster' }, { failover: 'true', sentinelMasterName: 'mymaster' }];
  for (const kind of kinds) {
    for (const { address } of [absent, hanging]) {
      const lines: string[] = [];
      const giveUp = new AbortController();
      const opening = redisBroker.open({ redisHost: address, ...kind }, contextWith(lines, 'team', giveUp.signal));
      if (address === absent.address) await until(() => lines.length > 0, 'it has tried');
      const began = performance.now();
      giveUp.abort();
      await t.throwsAsync(opening, { message: /^redis streams: error connecting to redis at .*:\d+: / });
      t.true(performance.now() - began < 3000, `${JSON.stringify(kind)} took ${performance.now() - began} ms`);
    }
  }
  t.is(await connectionsTo(absent.port, 1000), 0);
  hanging.signal('SIGCONT');
  await until(async () => !String(await hanging.ask('client', 'LIST')).includes('name=team@'), 'no connection is left');
});

test('everything wrong with the settings is said together', async (t) => {
  await t.throwsAsync(refused({ redisHost: 'x', concurrency: 'many', processingTimeout: 'soon' }), {
    message: /concurrency wants .*; processingTimeout wants /,
  });
});

test('an ACL user with the commands that are needed, and no right to unblock, works', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const commands = [
    'xadd',
    'xack',
    'xgroup',
    'xreadgroup',
    'xpending',
    'xclaim',
    'xinfo',
    'xrange',
    'xlen',
    'ping',
    'info',
  ];
  const rights = commands.map((command) => `+${command}`);
  await server.ask('acl', 'SETUSER', 'sidecar', 'on', '>secret', '~orders*', '-@all', ...rights);
  const { broker, lines } = await openSite(t, {
    redisHost: server.address,
    redisUsername: 'sidecar',
    redisPassword: 'secret',
  });
  const [first, second] = [new Recorder(), new Recorder()];
  const subscription = await subscribe(broker, 'orders', first);
  await subscribe(broker, 'orders-2', second);
  await publish(broker, 'orders', 'x');
  await publish(broker, 'orders-2', 'y');
  await until(() => first.messages.length + second.messages.length === 2, 'both arrived');
  await until(async () => (await broker.stats('orders')).pending === 0, 'it is settled');
  await subscription.close(AbortSignal.timeout(5000));
  await t.throwsAsync(subscribe(broker, 'forbidden', new Recorder()), { message: /NOPERM/ });
  t.deepEqual(lines, []);
});

test('on a cluster an ACL user that may not ask how it is is no reason to hang', async (t) => {
  const servers = await startCluster(t.teardown);
  const rights = ['~*', '+@all', '-cluster|info'];
  for (const server of servers) await server.ask('acl', 'SETUSER', 'sidecar', 'on', '>secret', ...rights);
  const login = { redisUsername: 'sidecar', redisPassword: 'secret' };
  const settings = { redisHost: servers[0].address, redisType: 'cluster', ...login };
  await t.throwsAsync(redisBroker.open(settings, contextWith([], 'team', AbortSignal.timeout(2000))), {
    message: /error connecting to redis/,
  });
});

test('TLS verifies the server by the given authority and shows our certificate', async (t) => {
  const path = makeCertificates(t.teardown);
  const pem = (name: Parameters<typeof path>[0]): string => readFileSync(path(name), 'utf8');
  const tls = [
    '--port',
    '0',
    '--tls-port',
    '{port}',
    '--tls-auth-clients',
    'yes',
    '--tls-ca-cert-file',
    path('ca.pem'),
  ];
  const server = await RedisServer.start(
    t.teardown,
    [...tls, '--tls-cert-file', path('server.pem'), '--tls-key-file', path('key.pem')],
    { tls: { ca: pem('ca.pem'), cert: pem('client.pem'), key: pem('key.pem') } },
  );
  const settings = { redisHost: server.address, enableTLS: 'true' };
  const certificate = { clientCert: pem('client.pem'), clientKey: pem('key.pem') };
  await t.throwsAsync(refused({ ...settings, ...certificate }), { message: /unable to verify|self.signed/ });
  for (const trust of [{ caCert: pem('ca.pem') }, { insecureSkipTLSVerify: 'true' }]) {
    const { broker } = await openSite(t, { ...settings, ...certificate, ...trust });
    const recorder = new Recorder();
    const topic = `orders-${Object.keys(trust)[0]}`;
    await subscribe(broker, topic, recorder);
    await publish(broker, topic, 'x');
    await until(() => recorder.messages.length === 1, 'it arrived');
  }
});
