/** One direction of one component under its policy: `circuitBreaker(timeout(call))`, and what is told of it. */

import { formatGoDuration } from '../lib/duration.ts';
import type { Log } from '../lib/log.ts';
import { CircuitBreaker, type BreakerSettings, type BreakerState } from './circuit-breaker.ts';
import type { Retry } from './retry-policy.ts';

/** Outbound towards the broker, inbound towards the app. */
export type Direction = 'inbound' | 'outbound';

/** A policy with the name it has in the resource that defines it. */
export interface Defined<T> {
  readonly name: string;
  readonly resource: string;
  readonly value: T;
}

/** What guards one direction of a component; what is absent does not. */
export interface Policy {
  /** Milliseconds one attempt may take. */
  readonly timeout?: Defined<number>;
  readonly retry?: Defined<Retry>;
  readonly circuitBreaker?: Defined<BreakerSettings>;
}

export type PolicyKind = 'timeout' | 'retry' | 'circuitbreaker';

/** Which policy is told of. For one policy in one state always the same object, so that it can be a key. */
export interface PolicyUse {
  /** Name of the Resiliency resource. */
  readonly resource: string;
  readonly kind: PolicyKind;
  readonly direction: Direction;
  readonly component: string;
  /** State of a circuit breaker, empty for the others. */
  readonly status: BreakerState | '';
}

/** `applied`: an operation runs under the policy. `activated`: it retries, has timed out, has changed its state. */
export type OnPolicy = (event: 'applied' | 'activated', use: PolicyUse) => void;

export interface GuardContext {
  readonly component: string;
  readonly direction: Direction;
  readonly onPolicy: OnPolicy;
  readonly log: Log;
  readonly now: () => number;
}

/** Why a call came to nothing. With `afterMs` it was not made: come again then. */
export interface Fault {
  readonly reason: string;
  readonly afterMs?: number;
}

/** A call under a guard. */
export interface Guarded<T> {
  /** Never rejects. `signal` aborts when it has taken too long or the caller's aborts. */
  readonly call: (signal: AbortSignal) => Promise<T>;
  readonly judge: (result: T) => 'success' | 'failure';
  /** The result that stands for a fault; to `judge` it is a failure. */
  readonly fail: (fault: Fault) => T;
}

const LATE = 'context deadline exceeded';
const STATES = ['closed', 'half-open', 'open'] as const;

export class Guard {
  readonly retry: Retry | undefined;
  private readonly context: GuardContext;
  private readonly timeoutMs: number | undefined;
  private readonly breaker: CircuitBreaker | undefined;
  private readonly uses = new Map<string, PolicyUse>();

  constructor({ timeout, retry, circuitBreaker }: Policy, context: GuardContext) {
    this.context = context;
    this.retry = retry?.value;
    this.timeoutMs = timeout?.value;
    if (timeout) this.know('timeout', timeout.resource);
    if (retry) this.know('retry', retry.resource);
    if (!circuitBreaker) return;
    for (const state of STATES) this.know('circuitbreaker', circuitBreaker.resource, state);
    const name = `${circuitBreaker.name}-${context.component}`;
    const changed = (from: BreakerState, to: BreakerState): void => {
      const text = `Circuit breaker "${name}" changed state from ${from} to ${to}`;
      if (to === 'open') context.log.warn(text);
      else context.log.info(text);
      this.tell('activated', 'circuitbreaker', to);
    };
    this.breaker = new CircuitBreaker(circuitBreaker.value, changed, context.now);
  }

  /** Without a policy every call is made as it is. */
  get hasPolicy(): boolean {
    return this.uses.size > 0;
  }

  /** One attempt. Never rejects. */
  async attempt<T>(guarded: Guarded<T>, signal: AbortSignal): Promise<T> {
    const { breaker, timeoutMs } = this;
    const timed = (): Promise<T> =>
      timeoutMs === undefined ? guarded.call(signal) : this.inTime(timeoutMs, guarded, signal);
    if (!breaker) return timed();
    return breaker.run(timed, (result) => (signal.aborted ? 'abandoned' : guarded.judge(result)), guarded.fail);
  }

  /** Tells that an operation begins, which may take several attempts. */
  applied(): void {
    if (!this.hasPolicy) return;
    this.tell('applied', 'timeout');
    this.tell('applied', 'retry');
    if (this.breaker) this.tell('applied', 'circuitbreaker', this.breaker.state);
  }

  /** Tells that the `attempt`-th attempt of an operation failed and another follows. */
  retrying(attempt: number, afterMs: number): void {
    this.tell('activated', 'retry');
    if (attempt > 1) return;
    this.context.log.warn(`Error processing operation ${this.operation}. Retrying in ${formatGoDuration(afterMs)}…`);
  }

  /** Tells that an operation succeeded; where it took one attempt there is nothing to tell. */
  recovered(attempts: number): void {
    if (attempts === 1) return;
    this.context.log.info(`Recovered processing operation ${this.operation} after ${attempts} attempts`);
  }

  private get operation(): string {
    const { component, direction } = this.context;
    return `component[${component}] ${direction === 'inbound' ? 'input' : 'output'}`;
  }

  /**
   * The answer that comes first: the call's or the clock's. A call that goes on after that is of no interest. The
   * signals are joined by hand: `AbortSignal.any` costs ten times as much.
   */
  private async inTime<T>(ms: number, { call, fail }: Guarded<T>, signal: AbortSignal): Promise<T> {
    const { promise: late, resolve } = Promise.withResolvers<T>();
    const until = new AbortController();
    const abort = (): void => until.abort(signal.reason);
    const timer = setTimeout(() => {
      this.tell('activated', 'timeout');
      resolve(fail({ reason: LATE }));
      until.abort(new Error(LATE));
    }, ms);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
    try {
      return await Promise.race([late, call(until.signal)]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }

  private know(kind: PolicyKind, resource: string, status: BreakerState | '' = ''): void {
    const { component, direction } = this.context;
    this.uses.set(kind + status, { resource, kind, direction, component, status });
  }

  private tell(event: 'applied' | 'activated', kind: PolicyKind, status: BreakerState | '' = ''): void {
    const use = this.uses.get(kind + status);
    if (use) this.context.onPolicy(event, use);
  }
}
