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
import { isChurn, type Joined, type Membership } from './membership.ts';
import type { KafkaSettings } from './settings.ts';
import { Share } from './share.ts';
import { Topic, type Present } from './topic.ts';

/** A topic that was asked for. */
interface Entry {
  readonly topic: Topic;
  readonly ready: PromiseWithResolvers<void>;
  /** How many partitions it had when the group was joined last, none while it was gone; undefined before. */
  partitions: number | undefined;
  /** On the clock of `performance.now()`. */
  readonly askedAt: number;
}

/** How long to wait for further topics before joining. */
const COLLECT_MS = 20;
/** How long handlers may go on before partitions are given up for others. */
const DRAIN_MS = 1000;
/** How long a subscription waits for a group that cannot be joined now. */
const PATIENCE_MS = 10_000;
/** Pause before a topic that has gone is looked for again. */
const GONE_MS = 5000;
/** So many failures in a row are not told. */
const QUIET_FAILURES = 3;
/** How long the end of a subscription waits for the brokers. */
const PARTING_MS = 3000;

export class Consumer {
  private readonly settings: KafkaSettings;
  private readonly cluster: Cluster;
  private readonly membership: Membership;
  private readonly teller: Teller;
  /** What the group gave us. */
  readonly share: Share;
  private readonly entries = new Map<string, Entry>();
  private changed = Promise.withResolvers<void>();
  /** Resolves when the group was left. */
  private left = Promise.withResolvers<void>();
  private isJoining = false;
  private isLost = false;
  private isClosed = false;
  private readonly running: Promise<void>;
  private watching: NodeJS.Timeout | undefined;

  constructor(settings: KafkaSettings, cluster: Cluster, membership: Membership, teller: Teller) {
    this.settings = settings;
    this.cluster = cluster;
    this.membership = membership;
    this.teller = teller;
    this.share = new Share(settings, cluster, membership, teller, {
      topicOf: (name) => this.entries.get(name)?.topic,
      onAnew: () => this.watchIn(0),
    });
    this.watchIn(settings.clientConnectionTopicMetadataRefreshInterval);
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

  /** Every subscription has ended. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.watching);
    this.change();
    await Promise.race([this.running, wait(PARTING_MS, undefined, { ref: false })]);
    this.membership.stopHeartbeat();
    this.share.close();
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
    const entry = { topic, ready: Promise.withResolvers<void>(), partitions: undefined, askedAt: performance.now() };
    entry.ready.promise.catch(() => undefined); // nobody may wait any more
    this.entries.set(name, entry);
    this.change();
    return entry;
  }

  /** The last subscription to a topic has closed. */
  private async end(topic: Topic): Promise<void> {
    const entry = this.entries.get(topic.name);
    if (entry?.topic !== topic) return;
    const handled = this.share.of(topic.name);
    if (handled.length > 0)
      await Promise.race([this.share.commit(handled), wait(PARTING_MS, undefined, { ref: false })]);
    this.share.giveUp(this.share.of(topic.name)); // the group may have shared out anew
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
        await Promise.race([wait(this.pauseMs(failures)), this.changed.promise]);
      }
    }
  }

  private pauseMs(failures: number): number {
    const { consumeRetryInterval: initialMs } = this.settings;
    return backoffMs({ initialMs, factor: 2, maxMs: 5000, jitter: 0.2 }, failures);
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
    await this.catchUp(layouts, joined.assignment);
    await this.begin(joined, layouts);
    await this.changed.promise;
    await wait(COLLECT_MS);
    await this.prepareToJoin();
  }

  /** Until all that the group gave us is in hand, or something changes: of a topic it may not be known yet where to begin. */
  private async begin(joined: Joined, layouts: ReadonlyMap<string, number>): Promise<void> {
    const hasChanged = this.changed.promise.then(() => true);
    let ours = joined;
    for (let isOver = false, attempt = 1; !isOver; attempt++) {
      const failures = await this.share.adopt(
        ours,
        layouts,
        (name) => this.entries.get(name)?.partitions === undefined,
      );
      ours = { ...joined, isContinuous: true };
      for (const [name, count] of layouts) {
        const entry = this.entries.get(name);
        if (!entry) continue;
        entry.topic.resume();
        const failure = failures.get(name);
        if (!failure) {
          entry.partitions = count;
          entry.ready.resolve();
        } else if (this.refuse(this.impatient(failure, [entry]), failure)) this.change();
        else this.teller.note(`topic ${name} cannot be read yet, trying again: ${messageOf(failure)}`);
      }
      this.watchForGone();
      if (failures.size === 0) return;
      isOver = await Promise.race([hasChanged, wait(this.pauseMs(attempt), false)]);
    }
  }

  /** The number of partitions of each topic; who asked for one that is not there is told so. */
  private async layouts(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    const look = async (name: string, entry: Entry): Promise<void> => {
      try {
        found.set(name, (await this.cluster.layout(name, entry.partitions === undefined ? 1000 : Infinity)).length);
      } catch (error) {
        if (entry.partitions === undefined) this.refuse([entry], error);
        else found.set(name, 0); // it may come back
      }
    };
    await Promise.all([...this.entries].map(([name, entry]) => look(name, entry)));
    return found;
  }

  /** The leader of the group may have seen partitions that we have not. */
  private async catchUp(layouts: Map<string, number>, assignment: Assignment): Promise<void> {
    for (const [name, ids] of assignment) {
      const count = layouts.get(name);
      if (count !== undefined && ids.some((id) => id >= count))
        layouts.set(name, (await this.cluster.layout(name, 0)).length);
    }
  }

  /** Those who are told that it cannot be: at once where that will not change, else after a while. */
  private impatient(error: unknown, entries: Iterable<Entry> = this.entries.values()): Entry[] {
    const isFinal = (error as { retriable?: boolean }).retriable === false;
    const since = performance.now() - PATIENCE_MS;
    return [...entries].filter(({ partitions, askedAt }) => partitions === undefined && (isFinal || askedAt < since));
  }

  /** Whether there are any. */
  private refuse(entries: readonly Entry[], error: unknown): boolean {
    for (const { topic, ready } of entries) {
      this.entries.delete(topic.name);
      ready.reject(error);
    }
    return entries.length > 0;
  }

  /** Before others may get what we have: nothing new begins, what runs may end for a moment, and how things stand is told. */
  private async prepareToJoin(): Promise<void> {
    if (this.isLost) return this.share.giveUp();
    const topics = [...this.entries.values()].map(({ topic }) => topic);
    for (const topic of topics) topic.isPaused = true;
    const deadline = performance.now() + DRAIN_MS;
    while (topics.some(({ running }) => running > 0) && performance.now() < deadline && !this.isLost) await wait(5);
    await this.share.commit();
  }

  private watchIn(ms: number): void {
    clearTimeout(this.watching);
    if (!this.isClosed) this.watching = setTimeout(() => void this.watch(), ms);
  }

  /** Partitions that were added are shared out by the leader of the group: by joining again it starts that. */
  private async watch(): Promise<void> {
    for (const [name, entry] of this.entries) {
      const layout = await this.cluster.layout(name, 1000).catch(() => undefined);
      if (layout && entry.partitions !== undefined && layout.length !== entry.partitions) this.change();
    }
    this.watchIn(this.settings.clientConnectionTopicMetadataRefreshInterval);
    this.watchForGone();
  }

  private watchForGone(): void {
    if ([...this.entries.values()].some(({ partitions }) => partitions === 0)) this.watchIn(GONE_MS);
  }
}
