import { setTimeout as wait } from 'node:timers/promises';
import { messageOf } from '../../core/errors.ts';
import type { Teller } from '../../lib/teller.ts';
import { typeOf } from './kafkajs.ts';
import { isChurn, isNotOurs, type Membership } from './membership.ts';
import type { Partition } from './partition.ts';

const EVERY_MS = 250;
const EVERY_MESSAGES = 250;
const AGAIN_MS = 50;
const MAX_ATTEMPTS = 20;

/** Tells the group how far we are, 250 ms after something changed and every 250 messages. */
export class Committer {
  private readonly membership: Membership;
  private readonly teller: Teller;
  private readonly partitions: () => readonly Partition[];
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;
  private settledCount = 0;
  private committing: Promise<void> | undefined;
  /** Whether the brokers take notes as long as ours. */
  private takesNotes = true;

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
      if (!partitions.some((one) => isDirty(one) && !one.isRevoked)) return;
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
      const type = typeOf(error);
      if (type === 'OFFSET_METADATA_TOO_LARGE') this.takesNotes = false;
      else if (isNotOurs(error)) isWorthwhile = false;
      else if (!isChurn(error)) this.teller.note(`committing offsets fails: ${messageOf(error)}`);
    });
    await this.committing;
    this.committing = undefined;
    return isWorthwhile;
  }

  private async tell(partitions: readonly Partition[]): Promise<void> {
    this.settledCount = 0;
    const dirty = partitions.filter(isDirty);
    const versions = dirty.map(({ version }) => version);
    await this.membership.commit(
      dirty.map(({ topic, id, commit: { offset, metadata } }) => {
        return { topic, partition: id, offset, metadata: this.takesNotes ? metadata : '' };
      }),
    );
    dirty.forEach((partition, index) => (partition.committedVersion = versions[index] as number));
  }
}

const isDirty = ({ version, committedVersion }: Partition): boolean => version !== committedVersion;
