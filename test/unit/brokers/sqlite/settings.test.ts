import test from 'ava';
import { databasePath, readSettings } from '../../../../src/brokers/sqlite/settings.ts';

test('a connection string names a file as in the other sqlite components of Dapr', (t) => {
  const cases: Record<string, string> = {
    '': '/home/me/.dapr/pubsub.db',
    '/var/lib/p.db': '/var/lib/p.db',
    'p.db': `${process.cwd()}/p.db`,
    'file:p.db?_txlock=immediate': `${process.cwd()}/p.db`,
    'file:data/p%20q.db': `${process.cwd()}/data/p q.db`,
    'file:///var/lib/p.db?cache=shared': '/var/lib/p.db',
    'file:/var/lib/p.db': '/var/lib/p.db',
    '/var/lib/what?.db': '/var/lib/what?.db',
  };
  for (const [given, path] of Object.entries(cases)) t.is(databasePath(given, '/home/me/.dapr'), path, given);
});

test('a database in memory is refused with the broker that is meant', (t) => {
  for (const given of [':memory:', 'file::memory:?cache=shared', 'file:x?mode=memory']) {
    t.throws(() => databasePath(given, '/home'), { message: /pubsub\.in-memory/ }, given);
  }
});

test('every wrong setting is named at once', (t) => {
  const wrong = { concurrency: '0', processingTimeout: 'soon', retention: '-1s', maxHistory: 'much', busyTimeout: 'x' };
  const error = t.throws(() => readSettings(wrong, '/home'));
  for (const name of Object.keys(wrong)) t.true(error?.message.includes(name), name);
});

test('durations without a unit are milliseconds', (t) => {
  const { database } = readSettings({ processingtimeout: '1500', RETENTION: '2h' }, '/home');
  t.like(database, { processingTimeoutMs: 1500, retentionMs: 7_200_000, busyTimeoutMs: 10_000 });
});
