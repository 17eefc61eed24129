import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../../core/errors.ts';
import { backoffMs } from '../../lib/backoff.ts';
import type { Teller } from '../../lib/teller.ts';
import { typeOf } from './kafkajs.ts';
import { isChurn, isNotOurs, type Membership } from './membership.ts';
import type { Partition } from './partition.ts';

const NOTE_TOO_LONG = 'OFFSET_METADATA_TOO_LARGE';
const TOO_MUCH = 'INVALID_COMMIT_OFFSET_SIZE';
const EVERY_MS = 250;
const EVERY_MESSAGES = 250;
const AGAIN_MS = 50;
const MAX_ATTEMPTS = 20;
/** Pauses before what the group did not take of a partition is told it again. */
const BACKOFF = { initialMs: 50, factor: 2, maxMs: 5000, jitter: 0.2 };
/** What it did not take so often is not waited for. */
const HOPELESS = 4;

/** Tells the group how far we are, 250 ms after something changed and every 250 messages. */
export class Committer {
  private readonly membership: Membership;
  private readonly teller: Teller;
  private readonly partitions: () => readonly Partition[];
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;
  private settledCount = 0;
  private committing: Promise<void> | undefined;
  /** A longer note is not taken. */
  private longestNote = Infinity;
  /** More partitions are not taken together. */
  private mostTogether = Infinity;
  /** What was not taken, how often in a row and until when it rests. */
  private readonly refused = new WeakMap<Partition, { readonly times: number; readonly until: number }>();

  constructor(membership: Membership, teller: Teller, partitions: () => readonly Partition[]) {
    this.membership = membership;
    this.teller = teller;
    this.partitions = partitions;
  }

  /** There is something to say. */
  changed(): void {
    if (!this.isClosed) this.timer ??= setTimeout(() => void this.commitSoon(), EVERY_MS);
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
  }

  settled(): void {
    if (++this.settledCount >= EVERY_MESSAGES && !this.committing) void this.commit();
  }

  /** Commits until nothing of these is left to say, or nobody listens. Never rejects. */
  async commitAll(partitions: readonly Partition[]): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS && this.membership.isMember; attempt++) {
      await this.committing;
      if (!partitions.some((one) => isDirty(one) && !one.isRevoked && !this.isHopeless(one))) return;
      if (!(await this.commit(partitions))) return;
      if (attempt > 0) await wait(AGAIN_MS);
    }
  }

  private async commitSoon(): Promise<void> {
    await this.commit();
    this.timer = undefined;
    if (this.partitions().some(isDirty)) this.changed();
  }

  /** Whether it is worth while to try again. Never rejects. */
  private async commit(partitions = this.partitions()): Promise<boolean> {
    if (this.committing) return true;
    let isWorthwhile = true;
    this.committing = this.tell(partitions).catch((error: unknown) => {
      if (isNotOurs(error)) isWorthwhile = false;
      else if (!isChurn(error)) this.teller.note(`committing offsets fails: ${messageOf(error)}`);
    });
    await this.committing;
    this.committing = undefined;
    return isWorthwhile;
  }

  private async tell(partitions: readonly Partition[]): Promise<void> {
    this.settledCount = 0;
    const now = performance.now();
    const dirty = partitions.filter((one) => isDirty(one) && (this.refused.get(one)?.until ?? 0) <= now);
    for (let rest = dirty; rest.length > 0; rest = rest.slice(this.mostTogether)) {
      await this.tellOf(rest.slice(0, this.mostTogether));
    }
  }

  private async tellOf(partitions: readonly Partition[]): Promise<void> {
    const told = partitions.map(({ topic, id, version, commit: { offset, metadata } }) => {
      return { topic, partition: id, offset, metadata: metadata.length > this.longestNote ? '' : metadata, version };
    });
    const refusals = await this.membership.commit(told).catch((error: unknown) => {
      if (typeOf(error) === TOO_MUCH) this.mostTogether = Math.ceil(partitions.length / 2);
      throw error;
    });
    for (const [index, partition] of partitions.entries()) {
      const { version, metadata } = told[index] as (typeof told)[number];
      const refusal = refusals.find((one) => one.partition === partition.id && one.topic === partition.topic);
      if (!refusal) {
        partition.committedVersion = version;
        this.refused.delete(partition);
      } else if (refusal.error.type === NOTE_TOO_LONG)
        this.longestNote = Math.min(this.longestNote, metadata.length - 1);
      else this.putOff(partition, refusal.error);
    }
  }

  private putOff(partition: Partition, error: Error): void {
    const times = (this.refused.get(partition)?.times ?? 0) + 1;
    this.refused.set(partition, { times, until: performance.now() + backoffMs(BACKOFF, times) });
    if (this.isHopeless(partition))
      this.teller.note(`offsets of topic ${partition.topic} cannot be committed, trying again: ${messageOf(error)}`);
  }

  private isHopeless(partition: Partition): boolean {
    return (this.refused.get(partition)?.times ?? 0) >= HOPELESS;
  }
}

const isDirty = ({ version, committedVersion }: Partition): boolean => version !== committedVersion;
