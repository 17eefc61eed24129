import type { GroupStats } from '../../core/broker.ts';
import type { Cluster } from './cluster.ts';
import type { Membership } from './membership.ts';
import { readNote } from './note.ts';
import type { Figures, Partition } from './partition.ts';
import type { InboundRecord } from './record-batch.ts';

const NO_STATS: GroupStats = { lag: 0, pending: 0, oldestUnsettledMs: 0, parked: 0 };

export interface StatsSource {
  readonly cluster: Cluster;
  readonly membership: Membership;
  /** The partitions of the topic that this sidecar has. */
  readonly own: readonly Partition[];
  readOne(partition: number, offset: number): Promise<InboundRecord | undefined>;
}

/** How the group stands: of own partitions as it is now, of those of other members as they committed it last. */
export async function groupStats(
  topic: string,
  { cluster, membership, own, readOne }: StatsSource,
): Promise<GroupStats> {
  const layout = await cluster.existing(topic);
  if (!layout) return NO_STATS;
  const [ends, committed] = await Promise.all([
    cluster.offsets(topic, 'latest'),
    membership.offsets.committed(topic, layout.length),
  ]);
  const all = committed.flatMap(({ partition, offset, metadata }) => {
    const end = ends[partition] ?? 0;
    const ours = own.find(({ id, isRevoked }) => id === partition && !isRevoked);
    if (!ours && offset < 0) return [];
    return [{ partition, ...(ours ? ours.figures(end) : figuresOf(offset, metadata, end)) }];
  });
  const ages = all.map(async ({ partition, lag, pending, oldestOffset, oldestTimestamp }) => {
    if (lag + pending === 0) return 0;
    const timestamp = oldestTimestamp ?? (await readOne(partition, oldestOffset).catch(() => undefined))?.timestamp;
    return timestamp === undefined ? 0 : Math.max(0, Date.now() - timestamp);
  });
  const sum = (name: 'lag' | 'pending' | 'parked'): number => all.reduce((total, one) => total + one[name], 0);
  const oldestUnsettledMs = Math.max(0, ...(await Promise.all(ages)));
  return { lag: sum('lag'), pending: sum('pending'), parked: sum('parked'), oldestUnsettledMs };
}

function figuresOf(offset: number, metadata: string | null, end: number): Figures {
  const note = readNote(offset, metadata);
  const open = [...(note?.open.values() ?? [])];
  const pending = open.filter(({ attempt }) => attempt > 0).length;
  return {
    lag: Math.max(0, end - (note?.until ?? offset)) + open.length - pending,
    pending,
    parked: open.filter(({ dueAt }) => dueAt === Infinity).length,
    oldestOffset: offset,
    oldestTimestamp: undefined,
  };
}
