/** Our share: the partitions that the group gave us, what is in hand of them, and how far we are with it. */

import type { Teller } from '../../lib/teller.ts';
import type { Cluster } from './cluster.ts';
import { Committer } from './committer.ts';
import { Fetcher } from './fetcher.ts';
import type { Joined, Membership } from './membership.ts';
import { readNote } from './note.ts';
import { Partition, type PartitionOptions } from './partition.ts';
import type { KafkaSettings } from './settings.ts';
import { readOne } from './read-one.ts';
import { startOffsets } from './start-offsets.ts';
import type { Topic } from './topic.ts';

export class Share {
  private readonly settings: KafkaSettings;
  private readonly cluster: Cluster;
  private readonly membership: Membership;
  private readonly topicOf: (name: string) => Topic | undefined;
  private readonly fetcher: Fetcher;
  private readonly committer: Committer;
  private partitions: readonly Partition[] = [];

  /** `topicOf`: the handlers of a topic, as long as there are some. */
  constructor(
    settings: KafkaSettings,
    cluster: Cluster,
    membership: Membership,
    teller: Teller,
    topicOf: (name: string) => Topic | undefined,
  ) {
    this.settings = settings;
    this.cluster = cluster;
    this.membership = membership;
    this.topicOf = topicOf;
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
   * `isFirst`: whether the group may be new to a topic, so that somebody has to say where it begins.
   */
  async adopt(
    { assignment, isLeader, isContinuous }: Joined,
    layouts: ReadonlyMap<string, number>,
    isFirst: (topic: string) => boolean,
  ): Promise<void> {
    this.giveUp(this.partitions.filter(({ topic, id }) => !isContinuous || !assignment.get(topic)?.includes(id)));
    const isNew = (topic: string, id: number): boolean => !this.of(topic).some((one) => one.id === id);
    const interesting = [...layouts].filter(
      ([topic]) => isFirst(topic) || assignment.get(topic)?.some((id) => isNew(topic, id)),
    );
    const { cluster, membership } = this;
    const starts = await startOffsets(new Map(interesting), this.settings.initialOffset, isLeader, {
      membership,
      cluster,
    });
    const fresh: Partition[] = [];
    for (const { topic: name, partition: id, offset, metadata } of starts) {
      const topic = this.topicOf(name);
      if (!topic || !assignment.get(name)?.includes(id) || !isNew(name, id)) continue;
      fresh.push(new Partition(name, id, offset, readNote(offset, metadata), this.optionsFor(topic)));
    }
    this.hold([...this.partitions, ...fresh]);
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
