import type { Redis } from 'ioredis';
import { formatGoDuration } from '../../lib/duration.ts';
import { bulkString, Burst, NO_ARGUMENTS, type Waiter } from './burst.ts';

export interface Replication {
  /** From 1. */
  readonly replicas: number;
  /** For so many to have an entry. At least 1: with 0 the server waits for ever. */
  readonly timeoutMs: number;
}

/**
 * Writes that succeed when enough replicas have them. One WAIT stands behind many, and asks for what its own connection
 * wrote. The server reads nothing from the connection until it has answered: what comes meanwhile gathers for the next.
 */
export class ReplicatedBurst {
  private readonly burst: Burst;
  private readonly replication: Replication;
  private readonly wait: readonly string[];
  private gathered: { readonly pieces: readonly (string | Uint8Array)[]; readonly waiter: Waiter }[] = [];
  private isOut = false;

  constructor(client: Redis, replication: Replication) {
    this.burst = new Burst(client);
    this.replication = replication;
    const { replicas, timeoutMs } = replication;
    this.wait = [`*3\r\n${['WAIT', replicas, timeoutMs].map(bulkString).join('')}`];
  }

  /** Adds one write, in pieces. */
  add(pieces: readonly (string | Uint8Array)[], waiter: Waiter): void {
    this.gathered.push({ pieces, waiter });
    if (this.gathered.length === 1 && !this.isOut) setImmediate(() => this.send());
  }

  private send(): void {
    const { promise: replicated, resolve, reject } = Promise.withResolvers<void>();
    for (const { pieces, waiter } of this.gathered) this.burst.add(pieces, new Write(waiter, replicated));
    this.gathered = [];
    this.isOut = true;
    this.burst.add(this.wait, {
      name: 'wait',
      args: NO_ARGUMENTS,
      resolve: (had) => (Number(had) >= this.replication.replicas ? resolve() : reject(this.tooFew(Number(had)))),
      reject,
    });
    this.burst.flush();
    const goOn = (): void => {
      this.isOut = false;
      if (this.gathered.length > 0) setImmediate(() => this.send());
    };
    replicated.then(goOn, goOn);
  }

  private tooFew(had: number): Error {
    const { replicas, timeoutMs } = this.replication;
    const wanted = replicas === 1 ? '1 replica' : `${replicas} replicas`;
    return new Error(
      `${had} of ${wanted} had the event within ${formatGoDuration(timeoutMs)}: it is stored and may be delivered, ` +
        'but a failover can lose it; publish it again when the replicas follow (INFO replication)',
    );
  }
}

/** Waits for the replicas once it is stored; one that the server refuses has nothing to wait for. */
class Write implements Waiter {
  readonly name: string;
  readonly args: [] = NO_ARGUMENTS;
  private readonly waiter: Waiter;
  private readonly replicated: Promise<void>;

  constructor(waiter: Waiter, replicated: Promise<void>) {
    this.name = waiter.name;
    this.waiter = waiter;
    this.replicated = replicated;
  }

  resolve(reply: unknown): void {
    this.replicated.then(
      () => this.waiter.resolve(reply),
      (error: Error) => this.waiter.reject(error),
    );
  }

  reject(error: Error): void {
    this.waiter.reject(error);
  }
}
