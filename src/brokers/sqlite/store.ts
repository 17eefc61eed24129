/** The messages and how far the groups are with them, as SQL. Every method runs inside a transaction of the caller. */

import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { GroupStats } from '../../core/broker.ts';
import { SETTLED, type Publication, type Settlement } from './protocol.ts';
import { PARKED } from './schema.ts';

/** A message on its way to a member. */
export interface Claimed {
  readonly id: number;
  readonly attempt: number;
  readonly contentType: string;
  readonly metadata: string;
  readonly data: Uint8Array;
}

/** How much a claim may take. */
export interface Room {
  readonly messages: number;
  /** The message that goes past it is still taken, so that no size is too big. */
  readonly bytes: number;
}

/** Somebody removed the group of a member that runs: whoever subscribed has to do so anew. */
export class GroupRemoved extends Error {
  override readonly message = 'a consumer group was removed';
}

type Row = [id: number, contentType: string, metadata: string, data: Uint8Array, attempt: number];

const MESSAGE = 'm.id, m.content_type, m.metadata, m.data';

export class Store {
  private readonly insertMessage: StatementSync;
  private readonly settleOne: StatementSync;
  private readonly postponeOne: StatementSync;
  private readonly selectFresh: StatementSync;
  private readonly selectDue: StatementSync;
  private readonly selectFirstWaiting: StatementSync;
  private readonly selectOne: StatementSync;
  private readonly leaseFresh: StatementSync;
  private readonly leaseAgain: StatementSync;
  private readonly moveCursor: StatementSync;
  private readonly selectCursor: StatementSync;
  private readonly selectNextDue: StatementSync;
  private readonly database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.database = database;
    const rows = (sql: string): StatementSync => database.prepare(sql, { returnArrays: true });
    this.insertMessage = rows(
      'INSERT INTO message (topic, published, content_type, metadata, data) VALUES (?, ?, ?, ?, ?)',
    );
    this.settleOne = rows('DELETE FROM pending WHERE group_id = ? AND message_id = ? AND owner_id = ?');
    this.postponeOne = rows(
      `UPDATE pending SET owner_id = ?, due = ?, wait = ?, attempt = attempt - ?
       WHERE group_id = ? AND message_id = ? AND owner_id = ?`,
    );
    this.selectFresh = rows(`SELECT ${MESSAGE}, 1 FROM message m WHERE m.topic = ? AND m.id > ? ORDER BY m.id LIMIT ?`);
    this.selectDue = rows(
      `SELECT ${MESSAGE}, p.attempt + 1 FROM pending p JOIN message m ON m.id = p.message_id
       WHERE p.group_id = ? AND p.owner_id IS NULL AND p.due <= ? ORDER BY p.due, p.message_id LIMIT ?`,
    );
    this.selectFirstWaiting = rows(
      `SELECT message_id, due FROM pending WHERE group_id = ? AND owner_id IS NULL ORDER BY message_id LIMIT 1`,
    );
    this.selectOne = rows(
      `SELECT ${MESSAGE}, p.attempt + 1 FROM pending p JOIN message m ON m.id = p.message_id
       WHERE p.group_id = ? AND p.message_id = ?`,
    );
    this.leaseFresh = rows('INSERT INTO pending (group_id, message_id, owner_id, attempt, due) VALUES (?, ?, ?, 1, 0)');
    this.leaseAgain = rows(
      `UPDATE pending SET owner_id = ?, attempt = attempt + 1, due = 0 WHERE group_id = ? AND message_id = ?`,
    );
    this.moveCursor = rows('UPDATE consumer_group SET cursor = ? WHERE id = ?');
    this.selectCursor = rows('SELECT cursor FROM consumer_group WHERE id = ?');
    this.selectNextDue = rows('SELECT min(due) FROM pending WHERE group_id = ? AND owner_id IS NULL AND due > ?');
  }

  publish(publications: readonly Publication[], bytes: Uint8Array, now: number): void {
    let offset = 0;
    for (const [topic, contentType, metadata, size] of publications) {
      this.insertMessage.run(topic, now, contentType, metadata, bytes.subarray(offset, offset + size));
      offset += size;
    }
  }

  /** Does nothing when the lease is over. */
  settle([, group, owner, message, verdict, , uncounted]: Settlement, now: number): void {
    const uncount = uncounted ? 1 : 0;
    if (verdict === SETTLED) {
      this.settleOne.run(group, message, owner);
    } else if (verdict === Infinity) {
      this.postponeOne.run(owner, PARKED, null, uncount, group, message, owner);
    } else {
      const [due, wait] = verdict < 0 ? [0, null] : [now + Math.ceil(verdict), Math.ceil(verdict)];
      this.postponeOne.run(null, due, wait, uncount, group, message, owner);
    }
  }

  /** Lets no message wait longer from `now` than it was told to when it began: the wall clock may have been set back. */
  limitWaits(now: number): void {
    this.database.prepare('UPDATE pending SET due = ? + wait WHERE owner_id IS NULL AND due > ? + wait').run(now, now);
  }

  /** Leases what there is to `owner`: what is due again first, then what is new, in order. */
  claim(group: number, topic: string, owner: number, room: Room, now: number): Claimed[] {
    const claimed = take(this.selectDue.iterate(group, now, room.messages), room);
    for (const { id } of claimed) this.leaseAgain.run(owner, group, id);
    const rest = { messages: room.messages - claimed.length, bytes: room.bytes - size(claimed) };
    if (rest.messages > 0 && rest.bytes > 0) claimed.push(...this.claimFresh(group, topic, owner, rest));
    return claimed;
  }

  /** Leases one message to `owner`, and none that comes after one that waits. */
  claimInOrder(group: number, topic: string, owner: number, now: number): Claimed[] {
    const room = { messages: 1, bytes: 1 };
    const waiting = this.selectFirstWaiting.get(group) as [id: number, due: number] | undefined;
    if (!waiting) return this.claimFresh(group, topic, owner, room);
    const [id, due] = waiting;
    if (due > now) return [];
    const claimed = take(this.selectOne.iterate(group, id), room);
    this.leaseAgain.run(owner, group, id);
    return claimed;
  }

  private claimFresh(group: number, topic: string, owner: number, room: Room): Claimed[] {
    const [cursor] = (this.selectCursor.get(group) as [number] | undefined) ?? [];
    if (cursor === undefined) throw new GroupRemoved();
    const claimed = take(this.selectFresh.iterate(topic, cursor, room.messages), room);
    for (const { id } of claimed) this.leaseFresh.run(group, id, owner);
    const last = claimed.at(-1);
    if (last) this.moveCursor.run(last.id, group);
    return claimed;
  }

  /** When, after `now`, a message that waits may be claimed, Infinity when none waits. */
  nextDue(group: number, inOrder: boolean, now: number): number {
    if (inOrder) return (this.selectFirstWaiting.get(group) as [id: number, due: number] | undefined)?.[1] ?? Infinity;
    const [due] = this.selectNextDue.get(group, now) as unknown as [number | null];
    return due ?? Infinity;
  }

  /** The number of the group, which is made if need be and starts at the oldest message there is. */
  openGroup(topic: string, name: string): number {
    this.database.prepare('INSERT OR IGNORE INTO consumer_group (topic, name) VALUES (?, ?)').run(topic, name);
    return this.findGroup(topic, name) as number;
  }

  private findGroup(topic: string, name: string): number | undefined {
    const found = this.database.prepare('SELECT id FROM consumer_group WHERE topic = ? AND name = ?').get(topic, name);
    return found?.['id'] as number | undefined;
  }

  stats(topic: string, name: string, now: number): GroupStats {
    const row = this.database
      .prepare(
        `WITH
           g AS (SELECT coalesce(max(id), 0) AS id, coalesce(max(cursor), 0) AS cursor
                 FROM consumer_group WHERE topic = :topic AND name = :name),
           p AS (SELECT message_id, due FROM pending WHERE group_id = (SELECT id FROM g)),
           fresh AS (SELECT id FROM message WHERE topic = :topic AND id > (SELECT cursor FROM g))
         SELECT (SELECT count(*) FROM fresh) AS lag,
                (SELECT count(*) FROM p) AS pending,
                (SELECT count(*) FROM p WHERE due = :parked) AS parked,
                (SELECT min(published) FROM message
                 WHERE id IN ((SELECT min(id) FROM fresh), (SELECT min(message_id) FROM p))) AS oldest`,
      )
      .get({ topic, name, parked: PARKED }) as Record<string, number | null>;
    const { lag, pending, parked, oldest } = row;
    return {
      lag: lag ?? 0,
      pending: pending ?? 0,
      parked: parked ?? 0,
      oldestUnsettledMs: oldest == null ? 0 : Math.max(0, now - oldest),
    };
  }

  /** Makes what the group has parked due. Gives the group, when there is one, and the number of messages. */
  unpark(topic: string, name: string): { group: number | undefined; messages: number } {
    const group = this.findGroup(topic, name);
    if (group === undefined) return { group, messages: 0 };
    const { changes } = this.database
      .prepare('UPDATE pending SET owner_id = NULL, due = 0 WHERE group_id = ? AND due = ?')
      .run(group, PARKED);
    return { group, messages: Number(changes) };
  }
}

function take(rows: Iterable<unknown>, room: Room): Claimed[] {
  const taken: Claimed[] = [];
  let bytes = 0;
  for (const row of rows) {
    const [id, contentType, metadata, data, attempt] = row as Row;
    taken.push({ id, contentType, metadata, data, attempt });
    bytes += data.length;
    if (bytes >= room.bytes) break;
  }
  return taken;
}

const size = (claimed: readonly Claimed[]): number => claimed.reduce((sum, { data }) => sum + data.length, 0);
