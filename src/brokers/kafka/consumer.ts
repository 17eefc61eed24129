/**
 * One member of the group for all topics of the component. The group is joined once for what is asked for at about the
 * same time; after a change it is joined again, and what is in hand of partitions that stay goes on.
 */

import { setTimeout as wait } from 'node:timers/promises';
import type { Handler, Subscription } from '../../core/broker.ts';
import { messageOf } from '../../core/errors.ts';
import { backoffMs } from '../../lib/backoff.ts';
import type { Teller } from '../../lib/teller.ts';
import type { Assignment } from './assignment.ts';
import type { Cluster } from './cluster.ts';
import { Committer } from './committer.ts';
import { readOne } from './fetch-request.ts';
import { Fetcher } from './fetcher.ts';
import { isChurn, type Joined, type Membership } from './membership.ts';
import { readNote } from './note.ts';
import { Partition, type PartitionOptions } from './partition.ts';
import type { KafkaSettings } from './settings.ts';
import { startOffsets } from './start-offsets.ts';
import { Topic, type Present } from './topic.ts';

/** A topic that was asked for. */
interface Entry {
  readonly topic: Topic;
  readonly ready: PromiseWithResolvers<void>;
  /** How many partitions it had when the group was joined last; 0 before. */
  partitions: number;
  /** On the clock of `performance.now()`. */
  readonly askedAt: number;
}

/** How long to wait for further topics before joining. */
const COLLECT_MS = 20;
/** How long handlers may go on before partitions are given up for others. */
const DRAIN_MS = 1000;
/** How long a subscription waits for a group that cannot be joined now. */
const PATIENCE_MS = 10_000;
/** So many failures in a row are not told. */
const QUIET_FAILURES = 3;
/** How long the end of a subscription waits for the brokers. */
const PARTING_MS = 3000;

export class Consumer {
  private readonly settings: KafkaSettings;
  private readonly cluster: Cluster;
  private readonly membership: Membership;
  private readonly teller: Teller;
  private readonly fetcher: Fetcher;
  private readonly committer: Committer;
  private readonly entries = new Map<string, Entry>();
  private partitions: Partition[] = [];
  private changed = Promise.withResolvers<void>();
  /** Resolves when the group was left. */
  private left = Promise.withResolvers<void>();
  private isJoining = false;
  private isLost = false;
  private isClosed = false;
  private readonly running: Promise<void>;
  private readonly watching: NodeJS.Timeout;

  constructor(settings: KafkaSettings, cluster: Cluster, membership: Membership, teller: Teller) {
    this.settings = settings;
    this.cluster = cluster;
    this.membership = membership;
    this.teller = teller;
    const reading = {
      minBytes: settings.consumerFetchMin,
      partitionBytes: settings.consumerFetchDefault,
      onAnew: (partition: Partition, offset: number) => this.replace(partition, offset),
    };
    this.fetcher = new Fetcher(cluster, reading, teller);
    this.committer = new Committer(membership, teller, () => this.partitions);
    this.watching = setInterval(() => void this.watch(), settings.clientConnectionTopicMetadataRefreshInterval);
    this.running = this.run();
  }

  /** Resolves when the group has the topic; rejects when it cannot. */
  async subscribe(name: string, handler: Handler, present: Present, batch: number): Promise<Subscription> {
    for (let ending = this.ending(name); ending; ending = this.ending(name)) await ending;
    const entry = this.entries.get(name) ?? this.add(name);
    const subscription = entry.topic.join(handler, present, batch);
    try {
      await entry.ready.promise;
      return subscription;
    } catch (error) {
      await subscription.close(AbortSignal.abort());
      throw error;
    }
  }

  /** The partitions of a topic that this member has. */
  partitionsOf(name: string): Partition[] {
    return this.partitions.filter(({ topic }) => topic === name);
  }

  /** Delivers what this member has parked again. Resolves with how many that were. */
  async unpark(name: string): Promise<number> {
    let count = 0;
    for (const partition of this.partitionsOf(name)) {
      for (const held of partition.parked) {
        const record = await readOne(this.cluster, name, partition.id, held.offset);
        partition.unpark(held, record?.offset === held.offset ? record : undefined);
        count++;
      }
    }
    this.fetcher.wake();
    return count;
  }

  /** Every subscription has ended. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.watching);
    this.change();
    await Promise.race([this.running, wait(PARTING_MS, undefined, { ref: false })]);
    this.membership.stopHeartbeat();
    this.committer.close();
    this.fetcher.close();
  }

  private ending(name: string): Promise<void> | undefined {
    return this.entries.get(name)?.topic.ending;
  }

  private add(name: string): Entry {
    const topic: Topic = new Topic(
      name,
      this.settings.maxInFlight,
      (text) => this.teller.note(text),
      () => this.end(topic),
    );
    const entry = { topic, ready: Promise.withResolvers<void>(), partitions: 0, askedAt: performance.now() };
    entry.ready.promise.catch(() => undefined); // nobody may wait any more
    this.entries.set(name, entry);
    this.change();
    return entry;
  }

  /** The last subscription to a topic has closed. */
  private async end(topic: Topic): Promise<void> {
    const entry = this.entries.get(topic.name);
    if (entry?.topic !== topic) return;
    const handled = this.partitionsOf(topic.name);
    if (handled.length > 0)
      await Promise.race([this.committer.commitAll(handled), wait(PARTING_MS, undefined, { ref: false })]);
    const ours = this.partitionsOf(topic.name); // the group may have shared out anew
    for (const partition of ours) topic.revoke(partition);
    this.partitions = this.partitions.filter((one) => !ours.includes(one));
    this.fetcher.read(this.partitions);
    this.entries.delete(topic.name);
    this.change();
    if (this.entries.size > 0) return;
    if (this.isJoining) await this.membership.leave();
    await Promise.race([this.left.promise, wait(PARTING_MS, undefined, { ref: false })]);
  }

  /** What was joined is not what is wanted any more. */
  private change(): void {
    this.changed.resolve();
  }

  private async run(): Promise<void> {
    let failures = 0;
    for (;;) {
      if (this.entries.size === 0) {
        await this.membership.leave();
        this.left.resolve();
        if (this.isClosed) return;
        if (this.entries.size === 0) await this.changed.promise;
        this.left = Promise.withResolvers();
        await wait(COLLECT_MS);
      }
      this.changed = Promise.withResolvers();
      try {
        if (this.entries.size > 0) await this.session();
        failures = 0;
      } catch (error) {
        if (isChurn(error)) continue;
        // A group that is new has no coordinator for a moment.
        if (++failures > QUIET_FAILURES)
          this.teller.note(`joining group ${this.membership.group} fails: ${messageOf(error)}`);
        this.refuse(this.impatient(error), error);
        const { consumeRetryInterval: initialMs } = this.settings;
        const pauseMs = backoffMs({ initialMs, factor: 2, maxMs: 5000, jitter: 0.2 }, failures);
        await Promise.race([wait(pauseMs), this.changed.promise]);
      }
    }
  }

  /** From joining until the group or what is wanted of it changes. */
  private async session(): Promise<void> {
    const layouts = await this.layouts();
    if (layouts.size === 0) return;
    this.isJoining = true;
    const joined = await this.membership.join([...layouts.keys()].toSorted()).finally(() => (this.isJoining = false));
    this.isLost = false;
    this.membership.keepAlive((isLost) => {
      this.isLost ||= isLost;
      this.change();
    });
    await this.adopt(joined, layouts);
    for (const [name, count] of layouts) {
      const entry = this.entries.get(name);
      if (!entry) continue;
      entry.partitions = count;
      entry.topic.resume();
      entry.ready.resolve();
    }
    await this.changed.promise;
    await wait(COLLECT_MS);
    await this.prepareToJoin();
  }

  /** The number of partitions of each topic; who asked for one that is not there is told so. */
  private async layouts(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    const look = async (name: string, entry: Entry): Promise<void> => {
      try {
        found.set(name, (await this.cluster.layout(name, entry.partitions === 0 ? 1000 : Infinity)).length);
      } catch (error) {
        if (entry.partitions > 0) found.set(name, entry.partitions);
        else this.refuse([entry], error);
      }
    };
    await Promise.all([...this.entries].map(([name, entry]) => look(name, entry)));
    return found;
  }

  /** Those who are told that it cannot be: at once where that will not change, else after a while. */
  private impatient(error: unknown): Entry[] {
    const isFinal = (error as { retriable?: boolean }).retriable === false;
    const since = performance.now() - PATIENCE_MS;
    return [...this.entries.values()].filter(
      ({ partitions, askedAt }) => partitions === 0 && (isFinal || askedAt < since),
    );
  }

  private refuse(entries: readonly Entry[], error: unknown): void {
    for (const { topic, ready } of entries) {
      this.entries.delete(topic.name);
      ready.reject(error);
    }
  }

  /** Makes what we have in hand agree with what the group gave us. */
  private async adopt(
    { assignment, isLeader, isContinuous }: Joined,
    layouts: ReadonlyMap<string, number>,
  ): Promise<void> {
    const kept = this.partitions.filter((one) => isContinuous && has(assignment, one));
    for (const partition of this.partitions) {
      if (!kept.includes(partition)) this.entries.get(partition.topic)?.topic.revoke(partition);
    }
    this.partitions = kept;
    const isNew = (topic: string, id: number): boolean => !kept.some((one) => one.topic === topic && one.id === id);
    const interesting = [...layouts].filter(([name]) => {
      const fresh = assignment.get(name)?.some((id) => isNew(name, id)) ?? false;
      return fresh || this.entries.get(name)?.partitions === 0;
    });
    const starts = await startOffsets(new Map(interesting), this.settings.initialOffset, isLeader, {
      membership: this.membership,
      cluster: this.cluster,
    });
    for (const { topic: name, partition: id, offset, metadata } of starts) {
      const topic = this.entries.get(name)?.topic;
      if (!topic || !assignment.get(name)?.includes(id) || !isNew(name, id)) continue;
      this.partitions.push(new Partition(name, id, offset, readNote(offset, metadata), this.optionsFor(topic)));
    }
    this.fetcher.read(this.partitions);
  }

  /** What is in hand of a partition has gone with its topic; its offsets are those of other messages now. */
  private replace(old: Partition, offset: number): void {
    const topic = this.entries.get(old.topic)?.topic;
    if (!topic || !this.partitions.includes(old)) return;
    topic.revoke(old);
    const anew = new Partition(old.topic, old.id, offset, undefined, this.optionsFor(topic));
    this.partitions = this.partitions.map((one) => (one === old ? anew : one));
    this.fetcher.read(this.partitions);
    anew.changed();
  }

  private optionsFor(topic: Topic): PartitionOptions {
    const { ordering, maxInFlight, channelBufferSize } = this.settings;
    return {
      topicId: this.cluster.idOf(topic.name),
      ordering: maxInFlight === 1 ? 'partition' : ordering,
      readAhead: channelBufferSize,
      together: () => (maxInFlight === 1 ? 1 : topic.together),
      onReady: (lane) => topic.offer(lane),
      onSettled: () => this.committer.settled(),
      onChange: () => this.committer.changed(),
      onRoom: () => this.fetcher.wake(),
    };
  }

  /** Before others may get what we have: nothing new begins, what runs may end for a moment, and how things stand is told. */
  private async prepareToJoin(): Promise<void> {
    const topics = [...this.entries.values()].map(({ topic }) => topic);
    if (this.isLost) {
      for (const partition of this.partitions) this.entries.get(partition.topic)?.topic.revoke(partition);
      this.partitions = [];
      this.fetcher.read([]);
      return;
    }
    for (const topic of topics) topic.isPaused = true;
    const deadline = performance.now() + DRAIN_MS;
    while (topics.some(({ running }) => running > 0) && performance.now() < deadline && !this.isLost) await wait(5);
    await this.committer.commitAll(this.partitions);
  }

  /** Partitions that were added are shared out by the leader of the group: by joining again it starts that. */
  private async watch(): Promise<void> {
    for (const [name, entry] of this.entries) {
      const layout = await this.cluster.layout(name, 1000).catch(() => undefined);
      if (layout && entry.partitions > 0 && layout.length !== entry.partitions) this.change();
    }
  }
}

const has = (assignment: Assignment, { topic, id }: Partition): boolean => assignment.get(topic)?.includes(id) ?? false;
