/** Removes messages that nobody needs any more, a few at a time, so that the file does not grow for ever. */

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { pragma } from './schema.ts';

/** Messages looked at in one step; a step costs about a millisecond. */
const STEP = 200;
/** Unused pages given back to the file system in one step, and how many may stay. */
const VACUUM_PAGES = 200;
const SPARE_PAGES = 4096;

export interface PruningLimits {
  readonly retentionMs: number;
  readonly maxHistoryBytes: number;
}

export class Pruning {
  private readonly database: DatabaseSync;
  private readonly limits: PruningLimits;
  /** Where the round is: topics are taken in turn, so that none keeps its history at the cost of others. */
  private topic = '';
  private progress = false;
  private readonly nextTopic: StatementSync;
  private readonly floor: StatementSync;
  private readonly candidates: StatementSync;
  private readonly remove: StatementSync;
  private readonly redate: StatementSync;
  /** How far this round has looked in a topic: what is behind and still there is pending, or dated anew. */
  private readonly seen = new Map<string, number>();

  constructor(database: DatabaseSync, limits: PruningLimits) {
    this.database = database;
    this.limits = limits;
    const rows = (sql: string): StatementSync => database.prepare(sql, { returnArrays: true });
    this.nextTopic = rows('SELECT topic FROM message WHERE topic > ? ORDER BY topic LIMIT 1');
    this.floor = rows('SELECT min(cursor) FROM consumer_group WHERE topic = ?');
    this.candidates = rows(
      `SELECT id, published FROM message WHERE topic = ? AND id > ? AND id <= ? ORDER BY id LIMIT ${STEP}`,
    );
    this.redate = rows('UPDATE message SET published = ? WHERE id = ?');
    this.remove = rows(
      `DELETE FROM message WHERE id = ? AND NOT EXISTS (
         SELECT 1 FROM consumer_group g JOIN pending p ON p.group_id = g.id
         WHERE g.topic = ? AND p.message_id = message.id)`,
    );
  }

  /** In a transaction: looks at a part of one topic. False when a whole round found nothing: it may rest then. */
  step(now: number): boolean {
    const [topic] = (this.nextTopic.get(this.topic) as [string] | undefined) ?? [];
    if (topic === undefined) return this.endRound();
    this.topic = topic;
    const [floor] = this.floor.get(topic) as unknown as [number | null];
    const from = this.seen.get(topic) ?? 0;
    const rows = this.candidates.all(topic, from, floor ?? Number.MAX_SAFE_INTEGER) as unknown as [number, number][];
    const crowded = floor !== null && this.usedBytes() > this.limits.maxHistoryBytes;
    for (const [id, published] of rows) {
      if (crowded || published < now - this.limits.retentionMs) this.drop(id, topic);
      else if (published > now) this.date(id, topic, now);
      else break;
      this.progress = true;
    }
    return true;
  }

  private drop(id: number, topic: string): void {
    if (this.remove.run(id, topic).changes === 0) this.seen.set(topic, id);
  }

  /** One of a clock that was ahead would hold up those behind it, maybe for years. */
  private date(id: number, topic: string, now: number): void {
    this.redate.run(now, id);
    this.seen.set(topic, id);
  }

  private endRound(): boolean {
    const goOn = this.progress || this.shrink();
    if (!goOn) this.seen.clear();
    this.topic = '';
    this.progress = false;
    return goOn;
  }

  private shrink(): boolean {
    if (pragma(this.database, 'freelist_count') <= SPARE_PAGES) return false;
    this.database.exec(`PRAGMA incremental_vacuum(${VACUUM_PAGES})`);
    return true;
  }

  private usedBytes(): number {
    const pages = pragma(this.database, 'page_count') - pragma(this.database, 'freelist_count');
    return pages * pragma(this.database, 'page_size');
  }
}
