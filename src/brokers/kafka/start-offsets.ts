/** Where a group begins to read, or goes on. */

import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { Commit, Committed, Membership } from './membership.ts';

/** How long a member waits for the leader of the group to say where the group begins. */
const LEADER_MS = 3000;
const STEP_MS = 50;

/**
 * The offset of every partition of the topics, given with their number of partitions. A group that is new to a topic
 * begins at its end or its start; where it begins is committed at once, so that a crash before the first commit passes
 * nothing over. A partition without a commit beside others that have one came later, and is read from its start.
 *
 * Two members may begin at once, where the leader is slow. So an end is committed only if nothing was yet when we looked
 * after we had read it: whatever was published after another member began comes behind it.
 */
export async function startOffsets(
  topics: ReadonlyMap<string, number>,
  initial: 'newest' | 'oldest',
  isLeader: boolean,
  { membership, cluster }: { readonly membership: Membership; readonly cluster: Cluster },
): Promise<Committed[]> {
  if (topics.size === 0) return [];
  const deadline = performance.now() + LEADER_MS;
  const ends = new Map<string, readonly number[]>();
  for (;;) {
    const committed = await membership.committed(topics);
    const unknown = [...topics.keys()].filter((name) =>
      committed.every(({ topic, offset }) => topic !== name || offset < 0),
    );
    if (initial === 'oldest' || unknown.length === 0) return complete(committed, cluster);
    const unread = unknown.filter((topic) => !ends.has(topic));
    if (unread.length > 0) {
      await Promise.all(unread.map(async (topic) => ends.set(topic, await cluster.offsets(topic, 'latest'))));
    } else if (isLeader || performance.now() > deadline) {
      await membership.commit(unknown.flatMap((topic) => beginning(topic, ends.get(topic) ?? [])));
    } else {
      await wait(STEP_MS);
    }
  }
}

const beginning = (topic: string, ends: readonly number[]): Commit[] =>
  ends.map((offset, partition) => ({ topic, partition, offset, metadata: '' }));

async function complete(committed: readonly Committed[], cluster: Cluster): Promise<Committed[]> {
  const missing = new Set(committed.filter(({ offset }) => offset < 0).map(({ topic }) => topic));
  const starts = new Map<string, number[]>();
  for (const topic of missing) starts.set(topic, await cluster.offsets(topic, 'earliest'));
  return committed.map((one) =>
    one.offset < 0 ? { ...one, offset: starts.get(one.topic)?.[one.partition] ?? 0, metadata: null } : one,
  );
}
