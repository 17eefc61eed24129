import test from 'ava';
import { redisBroker } from '../../../../src/brokers/redis/broker.ts';
import { readSettings } from '../../../../src/brokers/redis/settings.ts';

test('the how-to file is enough, and nothing is lost by the defaults', (t) => {
  t.like(readSettings({ redisHost: 'localhost:6379', redisPassword: '' }), {
    hosts: [{ host: 'localhost', port: 6379 }],
    redisPassword: '',
    redisDB: 0,
    failover: false,
    enableTLS: false,
    concurrency: 10,
    queueDepth: 100,
    processingTimeout: 60_000,
    maxLenApprox: 0,
    streamTTL: 0,
    wait: 0,
  });
});

test('durations are Go durations or milliseconds, and a negative one is the default', (t) => {
  const settings = readSettings({
    redisHost: 'h',
    processingTimeout: '15000',
    redeliverInterval: '30s',
    streamTTL: '72h',
    readTimeout: '-1',
    redisMaxRetryInterval: '-1',
    waitTimeout: '0',
  });
  t.like(settings, {
    processingTimeout: 15_000,
    redeliverInterval: 30_000,
    streamTTL: 259_200_000,
    readTimeout: 5000,
    redisMaxRetryInterval: 512,
    waitTimeout: 1000,
  });
});

test('names match in any case, and unknown ones are ignored', (t) => {
  t.is(readSettings({ REDISHOST: 'h', Concurrency: '3', allowedTopics: 'a' }).concurrency, 3);
});

test('everything that cannot be is refused', (t) => {
  t.throws(() => readSettings({}), { message: 'redisHost is required' });
  t.throws(() => readSettings({ redisHost: 'h', failover: 'true' }), { message: 'failover wants sentinelMasterName' });
  t.throws(() => readSettings({ redisHost: 'h', redisPort: '70000' }), { message: /redisPort wants a port/ });
  t.throws(() => readSettings({ redisHost: 'h', useAzureAD: 'true', useOIDC: 'true' }), {
    message: 'useEntraID is not supported; useOIDC is not supported',
  });
  t.throws(() => readSettings({ redisHost: 'h', streamTTL: '30d' }), { message: /streamTTL wants a duration/ });
  t.throws(() => readSettings({ redisHost: 'h', poolSize: 'large' }), { message: /poolSize wants a whole number/ });
});

test('the documentation names every setting', (t) => {
  const table = redisBroker.describe();
  for (const name of ['redisHost', 'sentinelMasterName', 'caCert', 'entryKeepAliveInterval', 'idleCheckFrequency']) {
    t.true(table.includes(`| \`${name}\``), name);
  }
});
