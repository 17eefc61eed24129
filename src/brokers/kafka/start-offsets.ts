/** Where a group begins to read, or goes on. */

import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { Committed, Membership } from './membership.ts';

/** How long a member waits for the leader of the group to say where the group begins. */
const LEADER_MS = 3000;
const STEP_MS = 50;

/**
 * The offset of every partition of the topics, given with their number of partitions. A group that is new to a topic
 * begins at its end or its start; where it begins is committed at once, so that a crash before the first commit passes
 * nothing over. A partition without a commit beside others that have one came later, and is read from its start.
 */
export async function startOffsets(
  topics: ReadonlyMap<string, number>,
  initial: 'newest' | 'oldest',
  isLeader: boolean,
  { membership, cluster }: { readonly membership: Membership; readonly cluster: Cluster },
): Promise<Committed[]> {
  if (topics.size === 0) return [];
  const deadline = performance.now() + LEADER_MS;
  for (;;) {
    const committed = await membership.committed(topics);
    const unknown = [...topics.keys()].filter((name) =>
      committed.every(({ topic, offset }) => topic !== name || offset < 0),
    );
    if (initial === 'oldest' || unknown.length === 0) return complete(committed, cluster);
    if (isLeader || performance.now() > deadline) {
      await Promise.all(unknown.map((topic) => begin(topic, membership, cluster)));
    } else {
      await wait(STEP_MS);
    }
  }
}

async function begin(topic: string, membership: Membership, cluster: Cluster): Promise<void> {
  const ends = await cluster.offsets(topic, 'latest');
  await membership.commit(ends.map((offset, partition) => ({ topic, partition, offset, metadata: '' })));
}

async function complete(committed: readonly Committed[], cluster: Cluster): Promise<Committed[]> {
  const missing = new Set(committed.filter(({ offset }) => offset < 0).map(({ topic }) => topic));
  const starts = new Map<string, number[]>();
  for (const topic of missing) starts.set(topic, await cluster.offsets(topic, 'earliest'));
  return committed.map((one) =>
    one.offset < 0 ? { ...one, offset: starts.get(one.topic)?.[one.partition] ?? 0, metadata: null } : one,
  );
}
