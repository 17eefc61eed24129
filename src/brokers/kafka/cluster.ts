/** The brokers and what is known of topics: who leads which partition, and a connection to whom one asks. */

import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../../core/errors.ts';
import { check, Link, type LinkOptions } from './link.ts';
import { askForTopics, type Metadata } from './metadata-request.ts';
import type { Address } from './settings.ts';
import type { Teller } from '../../lib/teller.ts';
import { together } from './together.ts';

/** Requests of one purpose share a connection: a broker answers one after the other, and some wait long. */
export type Purpose = 'ask' | 'produce' | 'fetch' | 'catch-up' | 'group';

/** The leader of each partition, by number; -1 while there is none. */
export type Layout = readonly number[];

/** What is known of a topic. */
interface Known {
  readonly layout: Layout;
  readonly topicId: string | undefined;
}

interface ListedOffsets {
  readonly responses: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly errorCode: number; readonly offset: string }[];
  }[];
}

/** Partitions whose offsets are asked for. */
interface Listing {
  readonly topic: string;
  readonly partitions: readonly number[];
}

const UNKNOWN_TOPIC = 3;
const LEADER_NOT_AVAILABLE = 5;
/** How long a topic may take to come into being. */
const CREATION_MS = 10_000;
const CREATION_STEP_MS = 20;
const MAX_CREATION_STEP_MS = 200;
/** How long a partition may be without a leader. */
const ELECTION_MS = 5000;
const ELECTION_STEP_MS = 50;
/** A topic that is unknown for this long is not going to be created. */
const UNKNOWN_MS = 5000;

export class Cluster {
  private readonly bootstrap: readonly Address[];
  private readonly options: LinkOptions;
  private readonly teller: Teller;
  private readonly addresses = new Map<number, Address>();
  private readonly links = new Map<string, Promise<Link>>();
  private readonly layouts = new Map<string, Known & { readonly at: number }>();
  private readonly asking = new Map<string, Promise<Layout>>();
  private readonly create = together((topics: readonly string[]) => this.askForAll(topics, true));
  private readonly look = together((topics: readonly string[]) => this.askForAll(topics, false));
  /** By broker and timestamp. */
  private readonly listings = new Map<string, (one: Listing) => Promise<ListedOffsets>>();
  private readonly closing = new AbortController();

  constructor(bootstrap: readonly Address[], options: LinkOptions, teller: Teller) {
    this.bootstrap = bootstrap;
    this.options = options;
    this.teller = teller;
  }

  /** A connection to any broker. Rejects when none can be reached. */
  async any(): Promise<Link> {
    let failure: unknown;
    const known = [...this.addresses.values()].map((address) => ({ ...address, isKnown: true }));
    for (const address of [...known, ...this.bootstrap]) {
      try {
        return await this.link(address, 'ask');
      } catch (error) {
        failure = error;
        if (this.closing.signal.aborted) break;
      }
    }
    throw failure;
  }

  /** A connection to one broker. */
  async node(id: number, purpose: Purpose): Promise<Link> {
    const address = this.addresses.get(id);
    if (!address) throw new Error(`broker ${id} is not known`);
    return this.link(address, purpose);
  }

  /** Who leads the partitions, as far as it is known without asking. */
  known(topic: string): Layout | undefined {
    return this.layouts.get(topic)?.layout;
  }

  /** Whether the topic is another one now than that of the id, which was made anew under its name. */
  isAnew(topic: string, topicId: string | undefined): boolean {
    const now = this.idOf(topic);
    return now !== undefined && topicId !== undefined && now !== topicId;
  }

  /** The id of the topic that has this name now, as far as it is known without asking. */
  idOf(topic: string): string | undefined {
    return this.layouts.get(topic)?.topicId;
  }

  /** Who leads the partitions, not older than `maxAgeMs`. Asks for the topic to be created. Rejects when there is none. */
  async layout(topic: string, maxAgeMs = Infinity): Promise<Layout> {
    const known = this.layouts.get(topic);
    if (known && performance.now() - known.at < maxAgeMs) return known.layout;
    const asking = this.asking.get(topic) ?? this.waitForTopic(topic).finally(() => this.asking.delete(topic));
    this.asking.set(topic, asking);
    return asking;
  }

  /** The partitions of a topic that is there; undefined where it is not. Creates nothing. */
  async existing(topic: string): Promise<Layout | undefined> {
    const { error, layout } = await this.askFor(topic, false);
    if (error === UNKNOWN_TOPIC) return undefined;
    check(error);
    return layout;
  }

  /** The first offset of each partition that is still there, or the next one to be written. */
  async offsets(topic: string, which: 'earliest' | 'latest'): Promise<number[]> {
    const deadline = performance.now() + ELECTION_MS;
    for (;;) {
      const layout = await this.layout(topic);
      try {
        return await this.offsetsBy(topic, layout, which === 'earliest' ? -2 : -1);
      } catch (error) {
        this.forget(topic);
        // A topic that was just made, or a broker that just went: soon somebody leads.
        const { code = 0 } = error as { code?: number };
        if ((layout.includes(-1) || hasMoved(code)) && performance.now() < deadline) await wait(ELECTION_STEP_MS);
        else throw error;
      }
    }
  }

  private async offsetsBy(topic: string, layout: Layout, timestamp: number): Promise<number[]> {
    const found = Array<number>(layout.length).fill(0);
    const byLeader = Map.groupBy(layout.keys(), (partition) => layout[partition] ?? -1);
    const ask = async (leader: number, partitions: readonly number[]): Promise<void> => {
      const { responses } = await this.listing(leader, timestamp)({ topic, partitions });
      for (const { partition, offset, errorCode } of responses.find((one) => one.topic === topic)?.partitions ?? []) {
        check(errorCode);
        found[partition] = Number(offset);
      }
    };
    await Promise.all([...byLeader].map(([leader, partitions]) => ask(leader, partitions)));
    return found;
  }

  private listing(leader: number, timestamp: number): (one: Listing) => Promise<ListedOffsets> {
    const key = `${leader} ${timestamp}`;
    const found = this.listings.get(key);
    if (found) return found;
    const listing = together(async (wanted: readonly Listing[]) => {
      const topics = [...Map.groupBy(wanted, ({ topic }) => topic)].map(([topic, all]) => {
        const partitions = [...new Set(all.flatMap((one) => one.partitions))];
        return { topic, partitions: partitions.map((partition) => ({ partition, timestamp })) };
      });
      const link = await this.node(leader, 'ask');
      return link.askEach<ListedOffsets>('ListOffsets', { replicaId: -1, isolationLevel: 0, topics });
    });
    this.listings.set(key, listing);
    return listing;
  }

  /** Takes note of where a broker is. */
  meet(id: number, { host, port }: Address): void {
    this.addresses.set(id, { host, port });
  }

  forget(topic: string): void {
    this.layouts.delete(topic);
  }

  close(): void {
    this.closing.abort();
    for (const opening of this.links.values()) void opening.then((link) => link.close()).catch(() => undefined);
    this.links.clear();
  }

  private async waitForTopic(topic: string): Promise<Layout> {
    const began = performance.now();
    for (let stepMs = CREATION_STEP_MS; ; stepMs = Math.min(stepMs * 2, MAX_CREATION_STEP_MS)) {
      const { error, layout, topicId } = await this.askFor(topic, true);
      const took = performance.now() - began;
      if (error === UNKNOWN_TOPIC && took > UNKNOWN_MS) {
        throw new Error(`topic ${topic} does not exist, and the brokers do not create it`);
      }
      const isComing =
        error === UNKNOWN_TOPIC || error === LEADER_NOT_AVAILABLE || (error === 0 && layout.length === 0);
      if (!isComing || took > CREATION_MS) {
        check(error);
        this.layouts.set(topic, { layout, topicId, at: performance.now() });
        return layout;
      }
      await wait(stepMs);
    }
  }

  private async askFor(topic: string, create: boolean): Promise<Known & { error: number }> {
    const { topicMetadata } = await (create ? this.create(topic) : this.look(topic));
    const found = topicMetadata.find((one) => one.topic === topic);
    const layout = Array<number>(found?.partitionMetadata.length ?? 0).fill(-1);
    for (const { partitionId, leader } of found?.partitionMetadata ?? []) layout[partitionId] = leader;
    return { error: found?.topicErrorCode ?? UNKNOWN_TOPIC, layout, topicId: found?.topicId };
  }

  private async askForAll(topics: readonly string[], create: boolean): Promise<Metadata> {
    const metadata = await askForTopics(await this.any(), [...new Set(topics)], create);
    this.addresses.clear();
    for (const { nodeId, host, port } of metadata.brokers) this.addresses.set(nodeId, { host, port });
    return metadata;
  }

  /** The one connection of its kind, a new one where the last has gone. */
  private async link(address: Address, purpose: Purpose): Promise<Link> {
    if (this.closing.signal.aborted) throw new Error('component is closed');
    const key = `${address.host}:${address.port} ${purpose}`;
    const current = await this.links.get(key)?.catch(() => undefined);
    if (current?.isOpen) return current;
    const again = this.links.get(key);
    // Somebody else has found out first.
    if (again && (await again.catch(() => undefined)) !== current) return again;
    const opening = Link.open(address, this.options, this.closing.signal);
    this.links.set(key, opening);
    try {
      const link = await opening;
      this.teller.back();
      if (this.closing.signal.aborted) link.close();
      return link;
    } catch (error) {
      if (this.links.get(key) === opening) this.links.delete(key);
      this.teller.away(messageOf(error));
      throw error;
    }
  }
}

/** Whether an error of a partition says that somebody else leads it now, or nobody, or that its topic is another one. */
export const hasMoved = (code: number): boolean => [3, 5, 6, 9, 56, 72, 74, 75, 78, 100, 103].includes(code);
