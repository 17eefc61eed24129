import { spawnSync } from 'node:child_process';
import { chmodSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'ava';
import { openDatabase } from '../../../../src/brokers/sqlite/schema.ts';
import { temporary } from '../temporary.ts';

test('a new database and its directory are made for their user alone', (t) => {
  const path = join(temporary(t), 'a/b/p.db');
  openDatabase(path, 1000).close();
  t.is(statSync(path).mode & 0o777, 0o600);
  t.is(statSync(join(path, '..')).mode & 0o777, 0o700);
});

test('a database is opened again as it is', (t) => {
  const path = join(temporary(t), 'p.db');
  const first = openDatabase(path, 1000);
  first.exec(`INSERT INTO consumer_group (topic, name) VALUES ('t', 'g')`);
  const second = openDatabase(path, 1000);
  t.is(second.prepare('SELECT count(*) AS n FROM consumer_group').get()?.['n'], 1);
  t.is(second.prepare('PRAGMA journal_mode').get()?.['journal_mode'], 'wal');
  first.close();
  second.close();
});

test('a database that another one makes meanwhile, between any two reads, is the one of both', (t) => {
  const place = temporary(t);
  const { prepare } = DatabaseSync.prototype;
  t.teardown(() => (DatabaseSync.prototype.prepare = prepare));
  let interruptions = 0;
  for (let reads = 0; reads === interruptions; interruptions++) {
    const path = join(place, `${interruptions}.db`);
    reads = 0;
    DatabaseSync.prototype.prepare = function (sql) {
      if (!this.isTransaction && reads++ === interruptions) {
        DatabaseSync.prototype.prepare = prepare;
        openDatabase(path, 0).close();
      }
      return prepare.call(this, sql);
    };
    t.notThrows(() => openDatabase(path, 0).close(), `before read ${interruptions}`);
  }
  t.true(interruptions > 1);
});

test('a database of schema 1 is taken over with what waits in it', (t) => {
  const path = join(temporary(t), 'p.db');
  const before = openDatabase(path, 1000);
  before.exec(`ALTER TABLE pending DROP COLUMN wait; PRAGMA user_version = 1;
    INSERT INTO pending (group_id, message_id, owner_id, attempt, due) VALUES (1, 1, NULL, 3, 5000)`);
  const [first, second] = [openDatabase(path, 1000), openDatabase(path, 1000)];
  t.like(second.prepare('SELECT attempt, due, wait FROM pending').get(), { attempt: 3, due: 5000, wait: null });
  t.is(second.prepare('PRAGMA user_version').get()?.['user_version'], 2);
  for (const database of [before, first, second]) database.close();
});

test('a database of a newer release is refused, and says which release is needed', (t) => {
  const path = join(temporary(t), 'p.db');
  const database = openDatabase(path, 1000);
  database.exec('PRAGMA user_version = 99');
  database.close();
  t.throws(() => openDatabase(path, 1000), {
    message: /p\.db: a newer release wrote it \(schema 99, this one knows 2\)/,
  });
});

test('a file of another program is refused and left alone', (t) => {
  const other = join(temporary(t), 'other.db');
  const database = new DatabaseSync(other);
  database.exec('CREATE TABLE state (key TEXT)');
  database.close();
  t.throws(() => openDatabase(other, 1000), { message: /other\.db: it belongs to another program/ });
  const text = join(temporary(t), 'notes.txt');
  writeFileSync(text, 'shopping list '.repeat(1000));
  t.throws(() => openDatabase(text, 1000), { message: /notes\.txt: file is not a database/ });
});

test('a file that may not be written is named, and no companions are made that could not be written later', (t) => {
  const place = temporary(t);
  const path = join(place, 'p.db');
  openDatabase(path, 1000).close();
  chmodSync(place, 0o777);
  chmodSync(path, 0o444);
  const schema = new URL('../../../../src/brokers/sqlite/schema.ts', import.meta.url);
  const code = `import { openDatabase } from '${schema.href}'; openDatabase('${path}', 1000);`;
  // The superuser may write everything.
  const nobody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  const { stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { ...nobody, encoding: 'utf8' });
  t.regex(stderr, /cannot use database .*p\.db: EACCES: permission denied/);
  t.deepEqual(readdirSync(place), ['p.db']);
});

test('a lock that is not let go ends the waiting with a sentence', (t) => {
  const path = join(temporary(t), 'p.db');
  const holder = openDatabase(path, 1000);
  holder.exec('BEGIN IMMEDIATE');
  t.throws(() => openDatabase(path, 50), { message: /p\.db: another process keeps it locked/ });
  holder.close();
});
