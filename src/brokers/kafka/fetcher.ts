/**
 * Reads the partitions that want more, from each broker what it leads. Nobody's handler holds it up: while one request
 * waits for something to come, another one catches up with what is there already.
 */

import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../../core/errors.ts';
import { backoffMs } from '../../lib/backoff.ts';
import type { Teller } from '../../lib/teller.ts';
import { hasMoved, type Cluster } from './cluster.ts';
import { codecOf } from './compression.ts';
import { fetch, OUT_OF_RANGE, type FetchLimits } from './fetch-request.ts';
import { errorOfCode } from './kafkajs.ts';
import type { Partition } from './partition.ts';
import { decodeBatches } from './record-batch.ts';

export interface FetcherOptions {
  readonly minBytes: number;
  /** Bytes of one partition in one read, about. */
  readonly partitionBytes: number;
  /** A partition has other messages now than those that were read, from `offset` on. */
  readonly onAnew: (partition: Partition, offset: number) => void;
}

/** Two requests to a broker at a time, on connections of their own: it answers one after the other. */
const ERRANDS = ['fetch', 'catch-up'] as const;
type Errand = (typeof ERRANDS)[number];

/** How long a broker waits for something to come; so long a partition that is not in the request may have to wait. */
const LONG_POLL_MS = 500;
/** The same where all that it leads are in the request. */
const IDLE_POLL_MS = 5000;
const MAX_BYTES = 16 * 2 ** 20;
/** Of all partitions together; beyond it only those are read that have nothing in hand. */
const MAX_HELD_BYTES = 64 * 2 ** 20;
const REST_MS = 5000;
const BACKOFF = { initialMs: 50, factor: 2, maxMs: 2000, jitter: 0.2 };

export class Fetcher {
  private readonly cluster: Cluster;
  private readonly options: FetcherOptions;
  private readonly teller: Teller;
  private partitions: readonly Partition[] = [];
  private readonly running = new Set<string>();
  /** What a request is on its way for. */
  private readonly asked = new Set<Partition>();
  /** Brokers that a fetch waits at. */
  private readonly waiting = new Set<number>();
  private bell = Promise.withResolvers<void>();
  private isClosed = false;

  constructor(cluster: Cluster, options: FetcherOptions, teller: Teller) {
    this.cluster = cluster;
    this.options = options;
    this.teller = teller;
  }

  /** From now on these. */
  read(partitions: readonly Partition[]): void {
    this.partitions = partitions;
    this.wake();
    this.start();
  }

  /** A partition may want more. */
  wake(): void {
    this.bell.resolve();
    this.bell = Promise.withResolvers();
  }

  close(): void {
    this.isClosed = true;
    this.read([]);
  }

  private leaderOf({ topic, id }: Partition): number {
    return this.cluster.known(topic)?.[id] ?? -1;
  }

  private of(node: number): Partition[] {
    return this.partitions.filter((one) => this.leaderOf(one) === node);
  }

  private wanting(node: number, errand: Errand): Partition[] {
    if (errand === 'catch-up' && !this.waiting.has(node)) return [];
    const hasRoom = this.partitions.reduce((sum, { bytes }) => sum + bytes, 0) < MAX_HELD_BYTES;
    return this.of(node).filter((one) => {
      if (this.asked.has(one) || (errand === 'catch-up' && !one.isBehind)) return false;
      return one.wantsMore && (hasRoom || one.bytes === 0);
    });
  }

  /** Somebody sees to every leader there is, also to those that have just been found or lost. */
  private start(): void {
    for (const node of new Set(this.partitions.map((one) => this.leaderOf(one)))) {
      for (const errand of node < 0 ? ERRANDS.slice(0, 1) : ERRANDS) {
        const name = `${node} ${errand}`;
        if (this.running.has(name)) continue;
        this.running.add(name);
        void this.run(node, errand).finally(() => {
          this.running.delete(name);
          if (this.isClosed) return;
          this.wake(); // its leader may be another now, and then the other errand ends as well
          this.start();
        });
      }
    }
  }

  /** Reads from one broker as long as it leads something; -1 stands for leaders that have to be found. Never rejects. */
  private async run(node: number, errand: Errand): Promise<void> {
    let failures = 0;
    while (!this.isClosed && this.of(node).length > 0) {
      this.start(); // what another broker led when this one was last asked may have moved, or nobody may lead it
      const wanting = this.wanting(node, errand);
      if (wanting.length === 0 && node >= 0) {
        await (errand === 'catch-up' ? this.bell.promise : this.rest());
        continue;
      }
      try {
        if (node < 0) await this.findLeaders();
        else await this.fetch(node, errand, wanting);
        failures = 0;
        if (node < 0) await wait(BACKOFF.initialMs);
      } catch (error) {
        if (this.isClosed) return;
        this.teller.note(`reading fails: ${messageOf(error)}`);
        await wait(backoffMs(BACKOFF, ++failures));
        for (const { topic } of this.of(node)) this.cluster.forget(topic);
      }
    }
  }

  /** Until a partition may want more; some say so by nothing but the time. */
  private async rest(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, LONG_POLL_MS);
    await Promise.race([this.bell.promise, promise]);
    clearTimeout(timer);
  }

  private async findLeaders(): Promise<void> {
    const find = async (topic: string): Promise<void> => {
      await this.cluster.layout(topic, 0);
      this.start(); // another topic may take long, or for ever
    };
    await Promise.all([...new Set(this.of(-1).map(({ topic }) => topic))].map(find));
  }

  private async fetch(node: number, errand: Errand, partitions: readonly Partition[]): Promise<void> {
    for (const partition of partitions) this.asked.add(partition);
    if (errand === 'fetch') this.waiting.add(node);
    try {
      await this.ask(node, errand, partitions);
    } finally {
      for (const partition of partitions) this.asked.delete(partition);
      if (errand === 'fetch') this.waiting.delete(node);
      else this.wake();
    }
  }

  private async ask(node: number, errand: Errand, partitions: readonly Partition[]): Promise<void> {
    const anew = partitions.filter((one) => this.isAnew(one));
    for (const partition of anew) await this.reset(partition, partition.position);
    if (anew.length > 0) return;
    const link = await this.cluster.node(node, errand);
    const positions = new Map(partitions.map((one) => [one, one.position]));
    const reads = partitions.map(({ topic, topicId, id, position: offset }) => {
      return { topic, topicId, partition: id, offset };
    });
    const isAll = errand === 'fetch' && partitions.length === this.of(node).length;
    const fetched = await fetch(link, reads, this.limits(isAll));
    let hasFailed = false;
    const served = new Set<Partition>();
    const asked = new Map(partitions.map((one) => [`${one.id} ${one.topic}`, one]));
    for (const { topic, partition: id, errorCode, end, batches } of fetched) {
      const partition = asked.get(`${id} ${topic}`);
      if (!partition || partition.isRevoked) continue;
      const from = positions.get(partition) ?? 0;
      if (errorCode !== 0) {
        hasFailed = true;
        await this.refused(partition, from, errorCode);
      } else {
        if (batches.length > 0) served.add(partition);
        await this.take(partition, from, batches);
        partition.isBehind = partition.position < end;
      }
    }
    // A broker serves in our order until an answer is full, and who was not served may come first now.
    if (served.size > 0) this.partitions = this.partitions.toSorted((a, b) => +served.has(a) - +served.has(b));
    if (hasFailed) await wait(BACKOFF.initialMs);
  }

  private async refused(partition: Partition, from: number, errorCode: number): Promise<void> {
    if (errorCode === OUT_OF_RANGE) await this.reset(partition, from);
    else if (hasMoved(errorCode)) this.cluster.forget(partition.topic);
    else {
      partition.restsUntil = performance.now() + REST_MS;
      const { message } = errorOfCode(errorCode);
      this.teller.note(`topic ${partition.topic} cannot be read, trying again every ${REST_MS / 1000}s: ${message}`);
    }
  }

  /** `isAll`: of all that the broker leads. */
  private limits(isAll: boolean): FetchLimits {
    const { minBytes, partitionBytes } = this.options;
    const waitMs = isAll && minBytes <= 1 ? IDLE_POLL_MS : LONG_POLL_MS;
    return { waitMs, minBytes, maxBytes: MAX_BYTES, partitionBytes };
  }

  private async take(partition: Partition, from: number, batches: Buffer): Promise<void> {
    const { topic, id } = partition;
    try {
      partition.take(from, await decodeBatches(batches, from, codecOf));
    } catch (error) {
      partition.restsUntil = performance.now() + REST_MS;
      this.teller.note(`partition ${id} of topic ${topic} cannot be read at offset ${from}: ${messageOf(error)}`);
    }
  }

  private isAnew({ topic, topicId }: Partition): boolean {
    return this.cluster.isAnew(topic, topicId);
  }

  /**
   * What was to be read is not there: the topic has let go of it, or was made anew. Begins with what is there then, so
   * that nothing new is passed over.
   */
  private async reset(partition: Partition, from: number): Promise<void> {
    const { topic, id } = partition;
    this.cluster.forget(topic);
    const to = (await this.cluster.offsets(topic, 'earliest'))[id] ?? 0;
    const isAnew = to < from || this.isAnew(partition);
    if ((to === from && !isAnew) || partition.isRevoked) return;
    this.teller.note(`partition ${id} of topic ${topic} has no offset ${from} any more, going on at ${to}`);
    if (isAnew) this.options.onAnew(partition, to);
    else partition.jump(from, to);
  }
}
