/**
 * Sharing out partitions among the members of a group, and what members tell each other about it. Names and bytes are
 * those of all other clients, so that members of any make can be in one group.
 */

import { Reader, Writer } from './bytes.ts';

export type Strategy = 'range' | 'roundrobin' | 'sticky';

/** Partitions by topic. */
export type Assignment = ReadonlyMap<string, readonly number[]>;

export interface GroupMember {
  readonly id: string;
  readonly topics: readonly string[];
  /** What it had before, where the strategy asks for it. */
  readonly owned: Assignment;
}

/** How many partitions each topic has. */
export type Counts = ReadonlyMap<string, number>;

/** What a member says of itself when it joins. */
export function writeSubscription(
  topics: readonly string[],
  strategy: Strategy,
  owned: Assignment,
  generation: number,
): Buffer {
  const writer = new Writer().int16(0);
  writer.list(topics, (topic) => writer.text(topic));
  return writeUserData(writer, strategy, owned, generation).done();
}

/** Of a member of any make; what cannot be read counts as nothing. */
export function readSubscription(id: string, bytes: Buffer): GroupMember {
  const reader = new Reader(bytes);
  reader.int16();
  const topics = reader.list(() => reader.text() ?? '');
  let owned: Assignment = new Map();
  try {
    owned = readPartitions(new Reader(reader.block()));
  } catch {
    // Other strategies have nothing there.
  }
  return { id, topics, owned };
}

/** What the leader of a group tells a member that it gets. */
export function writeAssignment(assignment: Assignment, strategy: Strategy, generation: number): Buffer {
  const writer = writePartitions(new Writer().int16(0), assignment);
  return writeUserData(writer, strategy, assignment, generation).done();
}

/**
 * What a member has, in the words of the strategy. The Go client says to the next leader what this one told it there,
 * and leads no more when it cannot read that: nothing must be no bytes at all, not a block without bytes.
 */
function writeUserData(writer: Writer, strategy: Strategy, owned: Assignment, generation: number): Writer {
  if (strategy !== 'sticky') return writer.int32(-1);
  return writer.block(writePartitions(new Writer(), owned).int32(generation).done());
}

export function readAssignment(bytes: Buffer): Assignment {
  if (bytes.length === 0) return new Map();
  const reader = new Reader(bytes);
  reader.int16();
  return readPartitions(reader);
}

function writePartitions(writer: Writer, assignment: Assignment): Writer {
  return writer.list([...assignment], ([topic, partitions]) => {
    writer.text(topic).list(partitions, (partition) => writer.int32(partition));
  });
}

function readPartitions(reader: Reader): Assignment {
  return new Map(reader.list(() => [reader.text() ?? '', reader.list(() => reader.int32())] as const));
}

type Shares = Map<string, Map<string, number[]>>;

/** What each member gets. */
export function shareOut(
  strategy: Strategy,
  members: readonly GroupMember[],
  counts: Counts,
): ReadonlyMap<string, Assignment> {
  const sorted = members.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const shares: Shares = new Map(sorted.map(({ id }) => [id, new Map<string, number[]>()]));
  const topics = [...new Set(sorted.flatMap((member) => member.topics))].toSorted();
  const all = topics.flatMap((topic) => Array.from({ length: counts.get(topic) ?? 0 }, (_, id) => ({ topic, id })));
  if (strategy === 'range') range(sorted, topics, counts, shares);
  else if (strategy === 'roundrobin') roundRobin(sorted, all, shares);
  else sticky(sorted, all, shares);
  return shares;
}

interface TopicPartition {
  readonly topic: string;
  readonly id: number;
}

function give(shares: Shares, member: string, { topic, id }: TopicPartition): void {
  const share = shares.get(member);
  share?.set(topic, [...(share.get(topic) ?? []), id]);
}

function range(members: readonly GroupMember[], topics: readonly string[], counts: Counts, shares: Shares): void {
  for (const topic of topics) {
    const takers = members.filter((member) => member.topics.includes(topic));
    const count = counts.get(topic) ?? 0;
    for (let id = 0; id < count; id++) {
      const taker = takers[Math.floor((id * takers.length) / count)];
      if (taker) give(shares, taker.id, { topic, id });
    }
  }
}

function roundRobin(members: readonly GroupMember[], all: readonly TopicPartition[], shares: Shares): void {
  let turn = 0;
  for (const one of all) {
    const index = members.findIndex((_, step) => members[(turn + step) % members.length]?.topics.includes(one.topic));
    const taker = members[(turn + index) % members.length];
    if (index < 0 || !taker) continue;
    give(shares, taker.id, one);
    turn = (turn + index + 1) % members.length;
  }
}

/** Whoever had a partition keeps it, unless that is more than its part; the rest goes to who has least. */
function sticky(members: readonly GroupMember[], all: readonly TopicPartition[], shares: Shares): void {
  const sizes = new Map(members.map(({ id }) => [id, 0]));
  const sizeOf = (member: GroupMember): number => sizes.get(member.id) ?? 0;
  const assign = (member: GroupMember, one: TopicPartition): void => {
    give(shares, member.id, one);
    sizes.set(member.id, sizeOf(member) + 1);
  };
  const part = Math.ceil(all.length / Math.max(1, members.length));
  const open = all.filter((one) => {
    const owner = members.find((member) => member.owned.get(one.topic)?.includes(one.id));
    if (!owner?.topics.includes(one.topic) || sizeOf(owner) >= part) return true;
    assign(owner, one);
    return false;
  });
  for (const one of open) {
    const takers = members.filter((member) => member.topics.includes(one.topic));
    const [taker] = takers.toSorted((a, b) => sizeOf(a) - sizeOf(b));
    if (taker) assign(taker, one);
  }
}
