/** Our place in the group: joining, showing signs of life, committing, leaving. */

import type { Cluster } from './cluster.ts';
import { Coordinator } from './coordinator.ts';
import {
  readAssignment,
  readSubscription,
  shareOut,
  writeAssignment,
  writeSubscription,
  type Assignment,
  type Strategy,
} from './assignment.ts';
import { typeOf } from './kafkajs.ts';
import { Offsets, type Commit, type Refusal, type Standing } from './offsets.ts';

export interface MembershipOptions {
  readonly group: string;
  readonly strategy: Strategy;
  readonly sessionTimeoutMs: number;
  readonly heartbeatMs: number;
}

/** What a generation of the group gave us. */
export interface Joined {
  readonly assignment: Assignment;
  readonly isLeader: boolean;
  /** Whether nobody else can have had our partitions since the last one. */
  readonly isContinuous: boolean;
}

/** As long as the Go client gives its members to join. */
const REBALANCE_MS = 60_000;
/** Others join or leave at this moment: we have to join again. */
const REBALANCING = 'REBALANCE_IN_PROGRESS';
/** The group has gone on without us. */
const LOST = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID']);

/** Whether an error only says that a group changes. */
export const isChurn = (error: unknown): boolean => typeOf(error) === REBALANCING || LOST.has(typeOf(error));

/** Whether it says that what was said does not count any more. */
export const isNotOurs = (error: unknown): boolean => LOST.has(typeOf(error));

interface JoinAnswer {
  readonly generationId: number;
  readonly groupProtocol: string;
  readonly leaderId: string;
  readonly memberId: string;
  readonly members: readonly { readonly memberId: string; readonly memberMetadata: Buffer }[];
}

export class Membership {
  private readonly cluster: Cluster;
  private readonly options: MembershipOptions;
  private readonly coordinator: Coordinator;
  readonly offsets: Offsets;
  private memberId = '';
  private generation = -1;
  private owned: Assignment = new Map();
  private heartbeat: NodeJS.Timeout | undefined;

  constructor(cluster: Cluster, options: MembershipOptions) {
    this.cluster = cluster;
    this.options = options;
    this.coordinator = new Coordinator(cluster, options.group);
    this.offsets = new Offsets(this.coordinator);
  }

  get group(): string {
    return this.options.group;
  }

  get isMember(): boolean {
    return this.memberId !== '';
  }

  /** Joins, or joins again. Rejects when the group cannot be reached or refuses us. */
  async join(topics: readonly string[]): Promise<Joined> {
    this.stopHeartbeat();
    const { strategy, group } = this.options;
    const before = this.generation;
    try {
      const answer = await this.askToJoin(topics);
      const isLeader = answer.leaderId === answer.memberId;
      const shares = isLeader ? await this.share(answer) : [];
      const { memberAssignment } = await this.coordinator.ask<{ memberAssignment: Buffer }>('group', 'SyncGroup', {
        generationId: answer.generationId,
        memberId: this.memberId,
        groupAssignment: shares,
      });
      this.generation = answer.generationId;
      this.owned = readAssignment(memberAssignment);
      // It is the same one again where nobody else came or went.
      const isContinuous = before >= 0 && [before, before + 1].includes(this.generation);
      return { assignment: this.owned, isLeader, isContinuous };
    } catch (error) {
      if (isNotOurs(error)) this.forget();
      if (typeOf(error) === 'INCONSISTENT_GROUP_PROTOCOL') {
        const message = `group ${group} shares out partitions in another way than ${strategy}`;
        throw Object.assign(new Error(message, { cause: error }), { retriable: false });
      }
      throw error;
    }
  }

  /** Shows that we live; calls `onEnd` once when the session is over, with whether our partitions are lost. */
  keepAlive(onEnd: (isLost: boolean) => void): void {
    this.stopHeartbeat();
    let isBeating = false;
    this.heartbeat = setInterval(() => {
      if (isBeating) return;
      isBeating = true;
      this.coordinator
        .ask('group', 'Heartbeat', this.standing)
        .catch((error: unknown) => {
          if (!isChurn(error)) return;
          const isLost = isNotOurs(error);
          if (isLost) this.forget();
          this.stopHeartbeat();
          onEnd(isLost);
        })
        .finally(() => (isBeating = false));
    }, this.options.heartbeatMs);
  }

  /** As `Offsets.commit`. */
  commit(commits: readonly Commit[]): Promise<readonly Refusal[]> {
    return this.offsets.commit(commits, this.standing);
  }

  /** Gives our partitions to the others at once. Never rejects: without it they wait for the session to run out. */
  async leave(): Promise<void> {
    this.stopHeartbeat();
    const { memberId } = this;
    this.forget();
    if (memberId === '') return;
    try {
      await this.coordinator.ask('ask', 'LeaveGroup', { memberId });
    } catch {
      // The session runs out.
    }
  }

  stopHeartbeat(): void {
    clearInterval(this.heartbeat);
    this.heartbeat = undefined;
  }

  /** As who we speak. Taken before anything is waited for: what is ours in one generation may be another's in the next. */
  private get standing(): Standing {
    return { groupGenerationId: this.generation, memberId: this.memberId };
  }

  private forget(): void {
    this.memberId = '';
    this.generation = -1;
  }

  private async askToJoin(topics: readonly string[]): Promise<JoinAnswer> {
    const { strategy, sessionTimeoutMs } = this.options;
    const metadata = writeSubscription(topics, strategy, this.owned, this.generation);
    const args = {
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: REBALANCE_MS,
      protocolType: 'consumer',
      groupProtocols: [{ name: strategy, metadata }],
    };
    const join = (memberId: string): Promise<JoinAnswer> =>
      this.coordinator.ask('group', 'JoinGroup', { ...args, memberId });
    const answer = await join(this.memberId).catch((error: unknown) => {
      if (typeOf(error) !== 'MEMBER_ID_REQUIRED') throw error;
      this.memberId = (error as { memberId: string }).memberId;
      return join(this.memberId);
    });
    this.memberId = answer.memberId;
    return answer;
  }

  /** What everybody gets, as the leader sees it. Rejects when it cannot see: topics taken for empty would be nobody's. */
  private async share({
    members,
    groupProtocol,
    generationId,
  }: JoinAnswer): Promise<{ memberId: string; memberAssignment: Buffer }[]> {
    const all = members.map(({ memberId, memberMetadata }) => readSubscription(memberId, memberMetadata));
    const topics = [...new Set(all.flatMap((member) => member.topics))];
    const counts = new Map<string, number>();
    for (const topic of topics) {
      const layout = await this.cluster.existing(topic).catch((error: unknown) => {
        // A topic of others that we may not see is no reason to share out none.
        if ((error as { retriable?: boolean }).retriable !== false) throw error;
      });
      counts.set(topic, layout?.length ?? 0);
    }
    const strategy = groupProtocol as Strategy;
    return [...shareOut(strategy, all, counts)].map(([memberId, share]) => {
      return { memberId, memberAssignment: writeAssignment(share, strategy, generationId) };
    });
  }
}
