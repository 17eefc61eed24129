import { setTimeout as wait } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { ProtocolError } from './kafkajs.ts';
import { NOBODY, type Sender } from './record-batch.ts';

/** How long a broker may take to say who we are. */
const PATIENCE_MS = 5000;
const STEP_MS = 100;

interface Producer {
  readonly producerId: string;
  readonly producerEpoch: number;
}

/** By whom the brokers recognise what they have stored already. Where they do not allow it, nobody. */
export class Identity {
  private readonly cluster: Cluster;
  private sender: Promise<Sender> | undefined;

  constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /** The same until it is forgotten. Rejects when no broker says. */
  get(): Promise<Sender> {
    this.sender ??= this.ask().catch((error: unknown) => {
      this.sender = undefined;
      throw error;
    });
    return this.sender;
  }

  /** The numbers of the last one cannot be gone on with. */
  forget(): void {
    this.sender = undefined;
  }

  private async ask(): Promise<Sender> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const link = await this.cluster.any();
      try {
        const args = { transactionalId: null, transactionTimeout: 0 };
        const { producerId, producerEpoch } = await link.ask<Producer>('InitProducerId', args);
        return { id: BigInt(producerId), epoch: producerEpoch };
      } catch (error) {
        if (!link.isOpen || performance.now() > deadline) throw error;
        if ((error as Partial<ProtocolError>).retriable === false) return NOBODY;
        await wait(STEP_MS); // a broker that has just started
      }
    }
  }
}
