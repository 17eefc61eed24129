/** The groups of a database file, for who looks into it from outside; sidecars may be running on it. */

import { existsSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { GroupStats } from '../../core/broker.ts';
import { Leases, ownersOf } from './leases.ts';
import { patiently } from './patience.ts';
import { openDatabase } from './schema.ts';
import type { DatabaseOptions } from './settings.ts';
import { Store } from './store.ts';

/** A group on one topic. */
export interface Group extends GroupStats {
  readonly group: string;
  readonly topic: string;
  /** Whether a sidecar that runs takes messages for it. */
  readonly inUse: boolean;
}

type Place = Pick<DatabaseOptions, 'path' | 'busyTimeoutMs'>;

/** By name and topic. None where there is no file. */
export function listGroups(place: Place): Group[] {
  return inTransaction(place, (database) => [...groupsOf(database, place.path).values()]);
}

/**
 * Removes the group from all its topics, so that nothing is kept for it any more. Gives what it was, or is when a
 * sidecar uses it: then nothing is removed.
 */
export function removeGroup(place: Place, name: string): Group[] {
  return inTransaction(place, (database) => {
    const found = [...groupsOf(database, place.path)].filter(([, { group }]) => group === name);
    const groups = found.map(([, group]) => group);
    if (groups.some(({ inUse }) => inUse)) return groups;
    for (const [id] of found) {
      for (const table of ['pending', 'waiter']) database.prepare(`DELETE FROM ${table} WHERE group_id = ?`).run(id);
      database.prepare('DELETE FROM consumer_group WHERE id = ?').run(id);
    }
    return groups;
  });
}

function inTransaction(place: Place, work: (database: DatabaseSync) => Group[]): Group[] {
  if (!existsSync(place.path)) return [];
  const database = openDatabase(place.path, place.busyTimeoutMs);
  try {
    patiently(place.busyTimeoutMs, () => database.exec('BEGIN IMMEDIATE'));
    const groups = work(database);
    database.exec('COMMIT');
    return groups;
  } finally {
    database.close();
  }
}

function groupsOf(database: DatabaseSync, path: string): Map<number, Group> {
  const store = new Store(database);
  const leases = new Leases(database, path, 0);
  const gone = new Set(leases.gone());
  leases.close();
  const owners = database.prepare(
    `SELECT owner_id FROM waiter WHERE group_id = :id
     UNION SELECT owner_id FROM pending WHERE group_id = :id AND owner_id IS NOT NULL`,
  );
  const rows = database.prepare('SELECT id, name, topic FROM consumer_group ORDER BY name, topic').all();
  return new Map(
    (rows as unknown as { id: number; name: string; topic: string }[]).map(({ id, name, topic }) => {
      const inUse = ownersOf(owners.all({ id })).some((owner) => !gone.has(owner));
      return [id, { group: name, topic, ...store.stats(topic, name, Date.now()), inUse }];
    }),
  );
}
