/** The database file: opened, made when it is new, refused when it is not ours to use. */

import { accessSync, closeSync, constants, existsSync, linkSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { threadId } from 'node:worker_threads';
import { isBusy, patiently } from './patience.ts';

const VERSION = 2;
/** In the file's header, so that a database of something else is not taken for ours. */
const APPLICATION_ID = 0x64707362;

/** `due` of a parked message: never comes. */
export const PARKED = Number.MAX_SAFE_INTEGER;

/**
 * - `message`: the log. Ids grow in the order of commits because there is one writer at a time, so a cursor never
 *   passes a message that appears later. AUTOINCREMENT: an id is never used again, also after pruning.
 * - `consumer_group`: one group on one topic. What lies behind its `cursor` was delivered at least once.
 * - `pending`: delivered and not settled. With an owner: leased, or parked when `due` is PARKED. Without: waits
 *   until `due` for whoever comes first, and no longer than `wait` from now, however the wall clock was set meanwhile.
 * - `owner`: one broker in one process. `beat` grows as long as it is well.
 * - `waiter`: the owner has nothing left to do for the group. Who makes something deliverable takes the row away
 *   and rings.
 */
const TABLES = `
  CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    published INTEGER NOT NULL,
    content_type TEXT NOT NULL,
    metadata TEXT NOT NULL,
    data BLOB NOT NULL
  );
  CREATE INDEX message_topic ON message (topic);
  CREATE TABLE consumer_group (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    name TEXT NOT NULL,
    cursor INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, name)
  );
  CREATE TABLE pending (
    group_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    owner_id INTEGER,
    attempt INTEGER NOT NULL,
    due INTEGER NOT NULL,
    wait INTEGER,
    PRIMARY KEY (group_id, message_id)
  ) WITHOUT ROWID;
  CREATE INDEX pending_due ON pending (group_id, due) WHERE owner_id IS NULL;
  CREATE TABLE owner (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    beat INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE waiter (
    group_id INTEGER NOT NULL,
    owner_id INTEGER NOT NULL,
    PRIMARY KEY (group_id, owner_id)
  ) WITHOUT ROWID;
`;

/** From schema 1; releases that know no more write on into the same table. */
const UPGRADE = 'ALTER TABLE pending ADD COLUMN wait INTEGER';

/** Opens the database, first making it and its directory if need be. Throws an error that names the file and says why. */
export function openDatabase(path: string, busyTimeoutMs: number): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    createPrivately(path);
    // SQLite would make companions with the mode of the file, in the way of who may write it again.
    if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK);
    const opened = (database = new DatabaseSync(path));
    patiently(busyTimeoutMs, () => prepareFile(opened));
    opened.exec(`PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = ${64 * 2 ** 20}`);
    return opened;
  } catch (error) {
    database?.close();
    const why = isBusy(error) ? 'another process keeps it locked' : (error as Error).message;
    throw new Error(`cannot use database ${path}: ${why}`, { cause: error });
  }
}

/**
 * Events are nobody else's business: the file is made for its user alone; SQLite gives its companions the same mode.
 * It gets its name when it is closed, since closing a file drops the locks that this process has on it: another
 * thread could have it open by then.
 */
function createPrivately(path: string): void {
  makeDirectory(dirname(path));
  if (existsSync(path)) return;
  const nameless = `${path}-${process.pid}-${threadId}`;
  closeSync(openSync(nameless, 'w', 0o600));
  try {
    linkSync(nameless, path);
  } catch {
    // It is there by now, or this file system has no links, nor modes then: SQLite makes the file.
  } finally {
    rmSync(nameless);
  }
}

/** Node's own recursion never ends in a directory where nothing can be made, such as /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Idempotent, and safe while other processes do the same: what is decided is decided inside the transaction. */
function prepareFile(database: DatabaseSync): void {
  // These three hold for a file that has no page yet and are ignored afterwards.
  database.exec('PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL');
  if (!isOurs(database)) database.exec('PRAGMA journal_mode = WAL');
  database.exec('BEGIN IMMEDIATE');
  try {
    if (!isOurs(database)) database.exec(`${TABLES} PRAGMA application_id = ${APPLICATION_ID}`);
    else if (pragma(database, 'user_version') < VERSION) database.exec(UPGRADE);
    database.exec(`PRAGMA user_version = ${VERSION}; COMMIT`);
  } finally {
    if (database.isTransaction) database.exec('ROLLBACK');
  }
}

/** False for a file with nothing in it. Throws for one that belongs to something else or to a later version. */
function isOurs(database: DatabaseSync): boolean {
  // The tables first: another process may make them with the rest between two of these reads.
  const { tables } = database.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number };
  const application = pragma(database, 'application_id');
  const version = pragma(database, 'user_version');
  if (application !== APPLICATION_ID) {
    if (tables > 0 || application !== 0) throw new Error('it belongs to another program; name a file of its own');
    return false;
  }
  if (version > VERSION) {
    throw new Error(`a newer release wrote it (schema ${version}, this one knows ${VERSION}); use that release`);
  }
  return true;
}

export function pragma(database: DatabaseSync, name: string): number {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() as Record<string, number>)[0] as number;
}
