/** Reads the partitions that want more, from each broker what it leads. Nobody's handler holds it up. */

import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../../core/errors.ts';
import { backoffMs } from '../../lib/backoff.ts';
import type { Teller } from '../../lib/teller.ts';
import { hasMoved, type Cluster } from './cluster.ts';
import { codecOf } from './compression.ts';
import { fetch } from './fetch-request.ts';
import type { Partition } from './partition.ts';
import { decodeBatches } from './record-batch.ts';

export interface FetcherOptions {
  readonly minBytes: number;
  /** Bytes of one partition in one read, about. */
  readonly partitionBytes: number;
}

/** How long a broker waits for something to come; so long a partition that wants more again may have to wait. */
const LONG_POLL_MS = 500;
const MAX_BYTES = 16 * 2 ** 20;
/** Of all partitions together; beyond it only those are read that have nothing in hand. */
const MAX_HELD_BYTES = 64 * 2 ** 20;
const REST_MS = 5000;
const BACKOFF = { initialMs: 50, factor: 2, maxMs: 2000, jitter: 0.2 };
const OUT_OF_RANGE = 1;

export class Fetcher {
  private readonly cluster: Cluster;
  private readonly options: FetcherOptions;
  private readonly teller: Teller;
  private partitions: readonly Partition[] = [];
  private readonly nodes = new Map<number, Promise<void>>();
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

  private wanting(node: number): Partition[] {
    const hasRoom = this.partitions.reduce((sum, { bytes }) => sum + bytes, 0) < MAX_HELD_BYTES;
    return this.of(node).filter(({ wantsMore, bytes }) => wantsMore && (hasRoom || bytes === 0));
  }

  private start(): void {
    for (const node of new Set(this.partitions.map((one) => this.leaderOf(one)))) {
      if (this.nodes.has(node)) continue;
      const running = this.run(node).finally(() => {
        this.nodes.delete(node);
        if (!this.isClosed) this.start();
      });
      this.nodes.set(node, running);
    }
  }

  /** Reads from one broker as long as it leads something; -1 stands for leaders that have to be found. Never rejects. */
  private async run(node: number): Promise<void> {
    let failures = 0;
    while (!this.isClosed && this.of(node).length > 0) {
      const wanting = this.wanting(node);
      if (wanting.length === 0 && node >= 0) {
        await Promise.race([this.bell.promise, wait(LONG_POLL_MS)]);
        continue;
      }
      try {
        if (node < 0) await this.findLeaders();
        else await this.fetch(node, wanting);
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

  private async findLeaders(): Promise<void> {
    await Promise.all(
      [...new Set(this.of(-1).map(({ topic }) => topic))].map((topic) => this.cluster.layout(topic, 0)),
    );
  }

  private async fetch(node: number, partitions: readonly Partition[]): Promise<void> {
    const link = await this.cluster.node(node, 'fetch');
    const positions = new Map(partitions.map((one) => [one, one.position]));
    const { minBytes, partitionBytes } = this.options;
    const reads = partitions.map(({ topic, id, position: offset }) => ({ topic, partition: id, offset }));
    const fetched = await fetch(link, reads, { waitMs: LONG_POLL_MS, minBytes, maxBytes: MAX_BYTES, partitionBytes });
    let hasFailed = false;
    for (const { topic, partition: id, errorCode, batches } of fetched) {
      const partition = partitions.find((one) => one.id === id && one.topic === topic);
      if (!partition || partition.isRevoked) continue;
      const from = positions.get(partition) ?? 0;
      if (errorCode === OUT_OF_RANGE) await this.reset(partition, from);
      else if (errorCode !== 0) {
        hasFailed = true;
        if (hasMoved(errorCode)) this.cluster.forget(topic);
        else partition.restsUntil = performance.now() + REST_MS;
      } else if (batches.length > 0) {
        await this.take(partition, from, batches);
      }
    }
    if (hasFailed) await wait(BACKOFF.initialMs);
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

  /**
   * What was to be read is not there: the topic has let go of it, or was made anew. Begins with what is there then, so
   * that nothing new is passed over.
   */
  private async reset({ topic, id }: Partition, from: number): Promise<void> {
    const to = (await this.cluster.offsets(topic, 'earliest'))[id] ?? 0;
    if (to === from) return;
    this.teller.note(`partition ${id} of topic ${topic} has no offset ${from} any more, going on at ${to}`);
    this.partitions.find((one) => one.id === id && one.topic === topic)?.jump(from, to);
  }
}
