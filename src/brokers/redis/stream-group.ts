/** The commands on one group of one stream, with replies as they are meant. Each rejects as its command does. */

import type { Connection } from './connection.ts';
import { decodeEntries, nextId, type Entry, type RawEntry } from './entry.ts';
import type { Client } from './servers.ts';

export interface ConsumerInfo {
  readonly name: string;
  readonly pending: number;
  /** Since it last asked for anything. */
  readonly idleMs: number;
}

/** An entry that was delivered and not acknowledged. */
export interface PendingEntry {
  readonly id: string;
  readonly consumer: string;
  /** Since it was delivered or claimed. */
  readonly idleMs: number;
  /** How often it was delivered. */
  readonly deliveries: number;
}

export interface GroupInfo {
  readonly pending: number;
  readonly lastDelivered: string;
  /** Entries that were not delivered yet, as the server counts them; undefined when it does not know. */
  readonly lag: number | undefined;
}

type Argument = string | number;

/** How long a command waits for a server that is away. */
const PATIENCE_MS = 1000;
/**
 * The idle time of a released entry that may be claimed. One that is to wait is released with less, so that time
 * brings it there; whoever does not know this rule sees an entry that was idle for long.
 */
export const CLAIMABLE_MS = 86_400_000;
/** Removes consumers that own nothing. One step for each, so that none can come to own something meanwhile. */
const BURY = `
for i = 2, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
  end
end`;
/** So many with one script, which holds up everybody else on the server. */
const BURY_BATCH = 500;

export class StreamGroup {
  readonly topic: string;
  readonly group: string;
  private readonly connection: Connection;

  constructor(topic: string, group: string, connection: Connection) {
    this.topic = topic;
    this.group = group;
    this.connection = connection;
  }

  /** Makes stream and group where they are not there. A new group starts with the oldest entry. */
  async create(): Promise<void> {
    try {
      await this.call('xgroup', 'CREATE', this.topic, this.group, '0', 'MKSTREAM');
    } catch (error) {
      if (!(error instanceof Error && error.message.startsWith('BUSYGROUP'))) throw error;
    }
  }

  async acknowledge(ids: readonly string[]): Promise<void> {
    await this.call('xack', this.topic, this.group, ...ids);
  }

  async consumers(): Promise<ConsumerInfo[]> {
    const reply = (await this.call('xinfo', 'CONSUMERS', this.topic, this.group)) as (string | number)[][];
    return reply.map(fieldsOf).map(({ name, pending, idle }) => ({
      name: String(name),
      pending: Number(pending),
      idleMs: Number(idle),
    }));
  }

  /** What a consumer owns from `from` on, in order, `count` at most. */
  async pending(consumer: string, from: string, count: number): Promise<PendingEntry[]> {
    return pendingEntries(await this.call('xpending', this.topic, this.group, from, '+', count, consumer));
  }

  /** What a consumer owns, all of it, in pages. */
  async *allPending(consumer: string, page: number): AsyncGenerator<PendingEntry[]> {
    for (let from = '-'; ;) {
      const entries = await this.pending(consumer, from, page);
      yield entries;
      const last = entries.at(-1);
      if (last === undefined || entries.length < page) return;
      from = nextId(last.id);
    }
  }

  /** The entry while it is not acknowledged, else undefined. */
  async findPending(id: string): Promise<PendingEntry | undefined> {
    return pendingEntries(await this.call('xpending', this.topic, this.group, id, id, 1))[0];
  }

  async exists(id: string): Promise<boolean> {
    const client = await this.connection.ready(PATIENCE_MS);
    return ((await client.callBuffer('xrange', [this.topic, id, id])) as unknown[]).length > 0;
  }

  /**
   * Takes over those of the entries that nobody has touched for `minIdleMs`, as one more delivery of each. Resolves
   * with what was taken and is still in the stream.
   */
  async claim(consumer: string, ids: readonly string[], minIdleMs: number): Promise<Entry[]> {
    const client = await this.connection.ready(PATIENCE_MS);
    const reply = await client.callBuffer('xclaim', [this.topic, this.group, consumer, minIdleMs, ...ids]);
    return decodeEntries(reply as RawEntry[]);
  }

  /** Shows that they are in hand, on the same condition. Resolves with the ids of those that are. */
  async renew(consumer: string, ids: readonly string[], minIdleMs: number): Promise<string[]> {
    const reply = await this.call('xclaim', this.topic, this.group, consumer, minIdleMs, ...ids, 'JUSTID');
    return reply as string[];
  }

  /**
   * Gives them to another consumer, on the same condition, as if they had been untouched for `idleMs`. `deliveries`,
   * when given, is how often each was delivered; those of the stream that the server has forgotten are pending then too.
   */
  async handOver(
    consumer: string,
    ids: readonly string[],
    minIdleMs: number,
    idleMs: number,
    deliveries?: number,
  ): Promise<string[]> {
    const count = deliveries === undefined ? [] : ['RETRYCOUNT', deliveries, 'FORCE'];
    const options = ['IDLE', Math.max(0, idleMs), ...count, 'JUSTID'];
    return (await this.call('xclaim', this.topic, this.group, consumer, minIdleMs, ...ids, ...options)) as string[];
  }

  /** Removes those of the consumers that own nothing. */
  async bury(consumers: readonly string[]): Promise<void> {
    for (let i = 0; i < consumers.length; i += BURY_BATCH) {
      await this.call('eval', BURY, 1, this.topic, this.group, ...consumers.slice(i, i + BURY_BATCH));
    }
  }

  /** Undefined when there is no such group. */
  async info(): Promise<GroupInfo | undefined> {
    const groups = ((await this.call('xinfo', 'GROUPS', this.topic)) as (string | number | null)[][]).map(fieldsOf);
    const found = groups.find(({ name }) => name === this.group);
    if (!found) return undefined;
    const lag = found['lag'];
    return {
      pending: Number(found['pending']),
      lastDelivered: String(found['last-delivered-id']),
      lag: typeof lag === 'number' ? lag : undefined,
    };
  }

  /** The ids of the entries from `from` on, `count` at most. */
  async ids(from: string, count: number): Promise<string[]> {
    const client = await this.connection.ready(PATIENCE_MS);
    const reply = (await client.callBuffer('xrange', [this.topic, from, '+', 'COUNT', count])) as RawEntry[];
    return reply.flatMap((entry) => (entry ? [entry[0].toString('latin1')] : []));
  }

  /** How many entries the stream has. */
  async length(): Promise<number> {
    return Number(await this.call('xlen', this.topic));
  }

  /** The oldest entry that is not acknowledged. */
  async oldestPending(): Promise<string | undefined> {
    const [, id] = (await this.call('xpending', this.topic, this.group)) as [number, string | null];
    return id ?? undefined;
  }

  private async call(command: string, ...args: Argument[]): Promise<unknown> {
    const client: Client = await this.connection.ready(PATIENCE_MS);
    return client.call(command, args);
  }
}

function pendingEntries(reply: unknown): PendingEntry[] {
  return (reply as [string, string, number, number][]).map(([id, consumer, idleMs, deliveries]) => ({
    id,
    consumer,
    idleMs,
    deliveries,
  }));
}

/** `[name, value, name, value]` as an object. */
function fieldsOf<T>(flat: readonly T[]): Record<string, T> {
  const fields: Record<string, T> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) fields[String(flat[i])] = flat[i + 1] as T;
  return fields;
}
