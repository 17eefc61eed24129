/** Where a group begins to read, or goes on. */

import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { Membership } from './membership.ts';
import type { Committed } from './offsets.ts';

/** How long a member waits for the leader of the group to say where the group begins. */
const LEADER_MS = 3000;
const STEP_MS = 50;

/**
 * The offset of each of the `count` partitions of a topic. A group that is new to it begins at its end or its start;
 * where it begins is committed at once, so that a crash before the first commit passes nothing over. A partition without
 * a commit beside others that have one came later, and is read from its start. Rejects when that cannot be told.
 *
 * Two members may begin at once, where the leader is slow. So an end is committed only if nothing was yet when we looked
 * after we had read it: whatever was published after another member began comes behind it.
 */
export async function startOffsets(
  topic: string,
  count: number,
  initial: 'newest' | 'oldest',
  isLeader: boolean,
  { membership, cluster }: { readonly membership: Membership; readonly cluster: Cluster },
): Promise<readonly Committed[]> {
  if (count === 0) return [];
  const deadline = performance.now() + LEADER_MS;
  let ends: readonly number[] | undefined;
  for (;;) {
    const committed = await membership.offsets.committed(topic, count);
    if (initial === 'oldest' || committed.some(({ offset }) => offset >= 0)) return complete(topic, committed, cluster);
    if (!ends) ends = await cluster.offsets(topic, 'latest');
    else if (isLeader || performance.now() > deadline) {
      const commits = ends.map((offset, partition) => ({ topic, partition, offset, metadata: '' }));
      const [refusal] = await membership.commit(commits);
      if (refusal) throw refusal.error;
    } else await wait(STEP_MS);
  }
}

async function complete(
  topic: string,
  committed: readonly Committed[],
  cluster: Cluster,
): Promise<readonly Committed[]> {
  if (committed.every(({ offset }) => offset >= 0)) return committed;
  const starts = await cluster.offsets(topic, 'earliest');
  return committed.map((one) =>
    one.offset < 0 ? { ...one, offset: starts[one.partition] ?? 0, metadata: null } : one,
  );
}
