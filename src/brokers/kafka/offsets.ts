/** How far the group is with a partition: asking, and saying it. */

import type { Coordinator } from './coordinator.ts';
import { errorOfCode, type ProtocolError } from './kafkajs.ts';
import { check } from './link.ts';
import { together } from './together.ts';

/** Where the group is with a partition. */
export interface Committed {
  readonly topic: string;
  readonly partition: number;
  /** -1 where nothing was committed. */
  readonly offset: number;
  readonly metadata: string | null;
}

export interface Commit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly metadata: string;
}

/** A commit that the group did not take. */
export interface Refusal {
  readonly topic: string;
  readonly partition: number;
  readonly error: ProtocolError;
}

/** A member of the group as it speaks, in the words of the protocol. */
export interface Standing {
  readonly groupGenerationId: number;
  readonly memberId: string;
}

interface Answer<P> {
  readonly responses: readonly { readonly topic: string; readonly partitions: readonly P[] }[];
}

interface Fetched {
  readonly partition: number;
  readonly offset: string;
  readonly metadata: string | null;
  readonly errorCode: number;
}

interface Told {
  readonly partition: number;
  readonly errorCode: number;
}

/** Errors of single partitions among those that are committed: unknown, with too long a note, forbidden. */
const OF_A_PARTITION = new Set([3, 12, 29]);

export class Offsets {
  private readonly coordinator: Coordinator;
  private readonly ask = together((topics: readonly (readonly [topic: string, count: number])[]) => this.fetch(topics));

  constructor(coordinator: Coordinator) {
    this.coordinator = coordinator;
  }

  /** Where the group is with each of the `count` partitions of a topic. */
  async committed(topic: string, count: number): Promise<Committed[]> {
    const { responses } = await this.ask([topic, count]);
    const { partitions = [] } = responses.find((one) => one.topic === topic) ?? {};
    return partitions.map(({ partition, offset, metadata, errorCode }) => {
      check(errorCode);
      return { topic, partition, offset: Number(offset), metadata };
    });
  }

  /**
   * Resolves with what was not taken, which changes nothing for the rest. Rejects when the group takes nothing: it is
   * not ours to say any more, or nobody listens.
   */
  async commit(commits: readonly Commit[], standing: Standing): Promise<readonly Refusal[]> {
    if (commits.length === 0) return [];
    const topics = [...Map.groupBy(commits, ({ topic }) => topic)].map(([topic, partitions]) => ({
      topic,
      partitions: partitions.map(({ partition, offset, metadata }) => {
        return { partition, offset: String(offset), metadata };
      }),
    }));
    const told = await this.coordinator.with('ask', async (link) => {
      const args = { groupId: this.coordinator.group, ...standing, topics };
      const { responses } = await link.askEach<Answer<Told>>('OffsetCommit', args);
      const all = responses.flatMap(({ topic, partitions }) => partitions.map((one) => ({ ...one, topic })));
      for (const { errorCode } of all) if (!OF_A_PARTITION.has(errorCode)) check(errorCode);
      return all;
    });
    return told.flatMap(({ topic, partition, errorCode }) =>
      errorCode === 0 ? [] : [{ topic, partition, error: errorOfCode(errorCode) }],
    );
  }

  private fetch(wanted: readonly (readonly [topic: string, count: number])[]): Promise<Answer<Fetched>> {
    const topics = [...new Map(wanted)].map(([topic, count]) => ({
      topic,
      partitions: Array.from({ length: count }, (_, partition) => ({ partition })),
    }));
    return this.coordinator.with('ask', async (link) => {
      const answer = await link.askEach<Answer<Fetched> & { errorCode?: number }>('OffsetFetch', {
        groupId: this.coordinator.group,
        topics,
      });
      check(answer.errorCode ?? 0);
      return answer;
    });
  }
}
