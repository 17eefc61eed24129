import type { Cluster } from './cluster.ts';
import { typeOf } from './kafkajs.ts';
import type { Link } from './link.ts';

/** What says that another broker coordinates the group now, or none yet. */
const LOST = new Set(['NOT_COORDINATOR_FOR_GROUP', 'GROUP_COORDINATOR_NOT_AVAILABLE']);

/** The broker that coordinates a group. It is looked for when it is first asked, and anew when it may be another one. */
export class Coordinator {
  readonly group: string;
  private readonly cluster: Cluster;
  private node: number | undefined;

  constructor(cluster: Cluster, group: string) {
    this.cluster = cluster;
    this.group = group;
  }

  /** Rejects with the first error in the answer. */
  ask<T>(purpose: 'ask' | 'group', api: string, args: object): Promise<T> {
    return this.with(purpose, (link) => link.ask<T>(api, { groupId: this.group, ...args }));
  }

  /**
   * What is asked over a connection to it. What is asked as a `group` waits for others to join, and what comes behind it
   * on its connection waits too.
   */
  async with<T>(purpose: 'ask' | 'group', ask: (link: Link) => Promise<T>): Promise<T> {
    try {
      this.node ??= await this.find();
      return await ask(await this.cluster.node(this.node, purpose));
    } catch (error) {
      const type = typeOf(error);
      if (LOST.has(type) || type === '' || type.startsWith('KafkaJS') || type === 'Error') this.node = undefined;
      throw error;
    }
  }

  private async find(): Promise<number> {
    const link = await this.cluster.any();
    const { coordinator } = await link.ask<{ coordinator: { nodeId: number; host: string; port: number } }>(
      'GroupCoordinator',
      { groupId: this.group, coordinatorType: 0 },
    );
    this.cluster.meet(coordinator.nodeId, coordinator);
    return coordinator.nodeId;
  }
}
