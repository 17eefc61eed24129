/** Our share: the partitions that the group gave us, what is in hand of them, and how far we are with it. */

import type { Teller } from '../../lib/teller.ts';
import type { Cluster } from './cluster.ts';
import { Committer } from './committer.ts';
import { Fetcher } from './fetcher.ts';
import { isChurn, type Joined, type Membership } from './membership.ts';
import { readNote } from './note.ts';
import { Partition, type PartitionOptions } from './partition.ts';
import type { KafkaSettings } from './settings.ts';
import { readOne } from './read-one.ts';
import { startOffsets } from './start-offsets.ts';
import type { Topic } from './topic.ts';

export interface ShareOptions {
  /** The handlers of a topic, as long as there are some. */
  readonly topicOf: (name: string) => Topic | undefined;
  /** A topic was made anew, and may have other partitions. */
  readonly onAnew: () => void;
}

export class Share {
  private readonly settings: KafkaSettings;
  private readonly cluster: Cluster;
  private readonly membership: Membership;
  private readonly topicOf: ShareOptions['topicOf'];
  private readonly onAnew: () => void;
  private readonly fetcher: Fetcher;
  private readonly committer: Committer;
  private partitions: readonly Partition[] = [];

  constructor(
    settings: KafkaSettings,
    cluster: Cluster,
    membership: Membership,
    teller: Teller,
    { topicOf, onAnew }: ShareOptions,
  ) {
    this.settings = settings;
    this.cluster = cluster;
    this.membership = membership;
    this.topicOf = topicOf;
    this.onAnew = onAnew;
    const reading = {
      minBytes: settings.consumerFetchMin,
      partitionBytes: settings.consumerFetchDefault,
      onAnew: (partition: Partition, offset: number) => this.replace(partition, offset),
    };
    this.fetcher = new Fetcher(cluster, reading, teller);
    this.committer = new Committer(membership, teller, () => this.partitions);
  }

  of(topic: string): Partition[] {
    return this.partitions.filter((one) => one.topic === topic);
  }

  /**
   * Makes what is in hand agree with what the group gave us of these topics, given with their number of partitions.
   * `isFirst`: whether the group may be new to a topic, so that somebody has to say where it begins. Resolves with the
   * topics of which it could not be told where to begin, and why. Rejects when the group changes meanwhile.
   */
  async adopt(
    { assignment, isLeader, isContinuous }: Joined,
    layouts: ReadonlyMap<string, number>,
    isFirst: (topic: string) => boolean,
  ): Promise<ReadonlyMap<string, unknown>> {
    this.giveUp(this.partitions.filter(({ topic, id }) => !isContinuous || !assignment.get(topic)?.includes(id)));
    const failures = new Map<string, unknown>();
    const { cluster, membership } = this;
    const begin = async (name: string, count: number): Promise<Partition[]> => {
      const mine = assignment.get(name) ?? [];
      const isNew = (id: number): boolean => mine.includes(id) && !this.of(name).some((one) => one.id === id);
      if (!this.topicOf(name) || !(isFirst(name) || mine.some(isNew))) return [];
      // What was committed of a topic that we have been at has gone with it: it was made anew.
      const initial = isFirst(name) ? this.settings.initialOffset : 'oldest';
      const starts = await startOffsets(name, count, initial, isLeader, { membership, cluster });
      await cluster.layout(name); // tells its id
      const topic = this.topicOf(name);
      if (!topic) return [];
      return starts.flatMap(({ partition: id, offset, metadata }) =>
        isNew(id) ? [new Partition(name, id, offset, readNote(offset, metadata), this.optionsFor(topic))] : [],
      );
    };
    const fresh = [...layouts].map(([name, count]) =>
      begin(name, count).catch((error: unknown) => {
        if (isChurn(error)) throw error;
        failures.set(name, error);
        return [];
      }),
    );
    this.hold([...this.partitions, ...(await Promise.all(fresh)).flat()]);
    return failures;
  }

  /** These are somebody else's from now on; their handlers hear of it. */
  giveUp(partitions = this.partitions): void {
    for (const partition of partitions) this.topicOf(partition.topic)?.revoke(partition);
    this.hold(this.partitions.filter((one) => !partitions.includes(one)));
  }

  /** Tells the group how far we are, as long as it listens. Never rejects. */
  commit(partitions = this.partitions): Promise<void> {
    return this.committer.commitAll(partitions);
  }

  /** Delivers what is parked of a topic again. Resolves with how many that were. */
  async unpark(topic: string): Promise<number> {
    let count = 0;
    for (const partition of this.of(topic)) {
      for (const held of partition.parked) {
        const record = await readOne(this.cluster, {
          topic,
          topicId: partition.topicId,
          partition: partition.id,
          offset: held.offset,
        });
        partition.unpark(held, record?.offset === held.offset ? record : undefined);
        count++;
      }
    }
    this.fetcher.wake();
    return count;
  }

  close(): void {
    this.committer.close();
    this.fetcher.close();
  }

  private hold(partitions: readonly Partition[]): void {
    this.partitions = partitions;
    this.fetcher.read(partitions);
  }

  /** What is in hand of a partition has gone with its topic; its offsets are those of other messages now. */
  private replace(old: Partition, offset: number): void {
    const topic = this.topicOf(old.topic);
    if (!topic || !this.partitions.includes(old)) return;
    topic.revoke(old);
    const anew = new Partition(old.topic, old.id, offset, undefined, this.optionsFor(topic));
    this.hold(this.partitions.map((one) => (one === old ? anew : one)));
    anew.changed();
    this.onAnew();
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
}
