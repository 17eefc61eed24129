import type { GroupStats } from '../../core/broker.ts';
import { isParked } from './consumer-name.ts';
import { nextId, timeOf } from './entry.ts';
import type { StreamGroup } from './stream-group.ts';

const NO_STATS: GroupStats = { lag: 0, pending: 0, oldestUnsettledMs: 0, parked: 0 };
/** Servers before 7.0, and later ones after entries were deleted, do not know the lag: it is counted, up to here. */
const COUNT_PAGE = 500;
const COUNT_PAGES = 20;

/**
 * How the group stands, all of its sidecars together. `unseen` is how many messages this one has read ahead: they are
 * not delivered yet. A lag that has to be counted stops at 10 000.
 */
export async function groupStats(group: StreamGroup, unseen: () => number): Promise<GroupStats> {
  const info = await group.info().catch((error: unknown) => {
    if (error instanceof Error && /no such key/i.test(error.message)) return undefined;
    throw error;
  });
  if (!info) return NO_STATS;
  const [next, length, oldestPending, consumers] = await Promise.all([
    group.ids(nextId(info.lastDelivered), 1),
    group.length(),
    group.oldestPending(),
    group.consumers(),
  ]);
  // The server's figure includes what was trimmed before it was read, for good.
  const most = next.length > 0 ? length : 0;
  const lag = Math.min(most, info.lag ?? (await countAfter(group, info.lastDelivered)));
  const ahead = Math.min(unseen(), info.pending);
  const unsettled = [oldestPending, ...next].filter((id) => id !== undefined).map(timeOf);
  return {
    lag: lag + ahead,
    pending: info.pending - ahead,
    oldestUnsettledMs: unsettled.length > 0 ? Math.max(0, Date.now() - Math.min(...unsettled)) : 0,
    parked: consumers.filter(({ name }) => isParked(name)).reduce((sum, { pending }) => sum + pending, 0),
  };
}

async function countAfter(group: StreamGroup, id: string): Promise<number> {
  let count = 0;
  for (let page = 0, last = id; page < COUNT_PAGES; page++) {
    const ids = await group.ids(nextId(last), COUNT_PAGE);
    count += ids.length;
    last = ids.at(-1) ?? last;
    if (ids.length < COUNT_PAGE) break;
  }
  return count;
}
