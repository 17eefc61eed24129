/**
 * Who is there. Each broker is an owner: a row, and a file beside the database that it keeps locked as long as it
 * lives. The kernel lets go of the lock when the process ends in whatever way, so a look at the lock says at once
 * whether an owner is gone, also over the borders of containers, where process ids say nothing. The file is the
 * owner's bell as well: touching it wakes the owner.
 */

import { existsSync, rmSync, utimesSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { isBusy } from './patience.ts';
import { beatPauseMs } from './settings.ts';

/** What this owner saw of another one. */
interface Acquaintance {
  readonly lock: DatabaseSync;
  beat: number;
  /** How much of its life this owner had seen then. */
  heardAt: number;
}

export class Leases {
  /** The row of this owner. */
  owner = 0;
  private readonly database: DatabaseSync;
  private readonly path: string;
  private readonly processingTimeoutMs: number;
  private lock: DatabaseSync | undefined;
  private readonly others = new Map<number, Acquaintance>();
  /**
   * The time that counts as silence of others: what passed between beats of this owner, for each no more than their
   * pause. Who was frozen, or could not write because the disk was full, would else bury all who were so with him.
   */
  private livedMs = 0;
  private lastBeat = 0;
  private lastBeatAt = performance.now();
  private readonly selectOwn: StatementSync;
  private readonly selectAll: StatementSync;

  constructor(database: DatabaseSync, path: string, processingTimeoutMs: number) {
    this.database = database;
    this.path = path;
    this.processingTimeoutMs = processingTimeoutMs;
    this.selectOwn = database.prepare('SELECT 1 FROM owner WHERE id = ?');
    this.selectAll = database.prepare('SELECT id, beat FROM owner', { returnArrays: true });
  }

  /** The file that is touched to wake this owner. */
  get bell(): string {
    return this.fileOf(this.owner);
  }

  /** Whether no other has been there for longer: what one of them has to do is done by this one. */
  get eldest(): boolean {
    return this.database.prepare('SELECT min(id) AS id FROM owner').get()?.['id'] === this.owner;
  }

  /** Whether this owner still is one: others bury who seems dead. */
  get held(): boolean {
    return this.selectOwn.get(this.owner) !== undefined;
  }

  /**
   * Becomes an owner anew, in a transaction: nobody sees the row before the lock is there, and when the transaction
   * fails the same number and so the same file come again.
   */
  register(): void {
    this.lock?.close();
    this.owner = Number(this.database.prepare('INSERT INTO owner DEFAULT VALUES').run().lastInsertRowid);
    this.lock = new DatabaseSync(this.bell);
    // Nothing is ever written to it, so it needs no journal beside it.
    this.lock.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
  }

  /** In a transaction: shows the others that this owner is well. */
  beat(): void {
    this.database.prepare('UPDATE owner SET beat = beat + 1 WHERE id = ?').run(this.owner);
  }

  /** Looks at every other owner. Gives those that ended, and those that have not beaten for the processing timeout. */
  gone(): number[] {
    const beats = new Map(this.selectAll.all() as unknown as [id: number, beat: number][]);
    this.live(beats.get(this.owner) ?? 0);
    beats.delete(this.owner);
    for (const id of this.others.keys()) if (!beats.has(id)) this.forget(id);
    return [...beats].filter(([id, beat]) => this.isGone(id, beat)).map(([id]) => id);
  }

  private live(beat: number): void {
    const now = performance.now();
    if (beat !== this.lastBeat) {
      const most = Math.max(1, beat - this.lastBeat) * beatPauseMs(this.processingTimeoutMs);
      this.livedMs += Math.min(now - this.lastBeatAt, most);
      this.lastBeatAt = now;
    }
    this.lastBeat = beat;
  }

  private isGone(id: number, beat: number): boolean {
    const other = this.others.get(id) ?? this.meet(id, beat);
    if (!other) return true;
    if (beat !== other.beat) {
      other.beat = beat;
      other.heardAt = this.livedMs;
    }
    const silent = this.processingTimeoutMs > 0 && this.livedMs - other.heardAt > this.processingTimeoutMs;
    return silent || !isLocked(other.lock);
  }

  /** Opens the other's file; undefined when there is none. */
  private meet(id: number, beat: number): Acquaintance | undefined {
    const file = pathToFileURL(this.fileOf(id));
    file.search = 'mode=rw';
    try {
      const other = { lock: new DatabaseSync(file, { timeout: 0 }), beat, heardAt: this.livedMs };
      this.others.set(id, other);
      return other;
    } catch (error) {
      if (existsSync(this.fileOf(id))) throw error;
      return undefined;
    }
  }

  private forget(id: number): void {
    this.others.get(id)?.lock.close();
    this.others.delete(id);
  }

  /**
   * In a transaction: takes the owner's leases from it. Its messages wait for whoever comes first, parked ones
   * included. Gives the owners to ring.
   */
  bury(id: number): number[] {
    this.database.prepare('UPDATE pending SET owner_id = NULL, due = 0 WHERE owner_id = ?').run(id);
    this.database.prepare('DELETE FROM owner WHERE id = ?').run(id);
    this.forget(id);
    rmSync(this.fileOf(id), { force: true });
    // All of them: any may have to look after messages that the dead one waited for.
    return ownersOf(this.database.prepare('DELETE FROM waiter RETURNING owner_id').all());
  }

  /** Wakes an owner. Only saves it time: it looks by itself every now and then. */
  ring(id: number): void {
    const now = new Date();
    try {
      utimesSync(this.fileOf(id), now, now);
    } catch {
      // It is gone, or the file cannot be touched.
    }
  }

  close(): void {
    for (const { lock } of this.others.values()) lock.close();
    this.others.clear();
    this.lock?.close();
  }

  private fileOf(id: number): string {
    return `${this.path}-owner-${id}`;
  }
}

export const ownersOf = (rows: readonly Record<string, unknown>[]): number[] =>
  rows.map(({ owner_id: owner }) => owner as number);

/** Reads what nobody can read while the lock is held. */
function isLocked(lock: DatabaseSync): boolean {
  try {
    lock.exec('SELECT 1 FROM sqlite_schema');
    return false;
  } catch (error) {
    if (isBusy(error)) return true;
    throw error;
  }
}
