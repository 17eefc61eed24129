/**
 * A circuit breaker: after too many failures it refuses calls for a while, then lets a few through to see (contract
 * 10.2, 10.3). Time alone opens nothing and closes nothing: what is due is done at the next call.
 */

import { messageOf } from './errors.ts';

export type BreakerState = 'closed' | 'half-open' | 'open';

/** Since the state began, or since the last interval did. */
export interface Counts {
  requests: number;
  totalSuccesses: number;
  totalFailures: number;
  consecutiveSuccesses: number;
  consecutiveFailures: number;
}

/** Asked after every failure while closed: whether to open. Never throws. */
export type Trip = (counts: Readonly<Counts>) => boolean;

export interface BreakerSettings {
  /** Calls let through while half-open; when as many succeed it closes. At least 1. */
  readonly maxRequests: number;
  /** While closed the counts begin anew this often; Infinity: never. */
  readonly intervalMs: number;
  /** How long it stays open. */
  readonly timeoutMs: number;
  readonly trip: Trip;
}

/** What a call said of whom it called; `abandoned`: nothing, it was given up for other reasons. */
export type Verdict = 'success' | 'failure' | 'abandoned';

/** A call that was not made. */
export interface Refusal {
  readonly reason: string;
  /** When to come again: it is open until then, or busy finding out. */
  readonly afterMs: number;
}

/** Comes again this soon while others find out whether it may close. */
const BUSY_MS = 1000;
const COUNTS = ['requests', 'totalSuccesses', 'totalFailures', 'consecutiveSuccesses', 'consecutiveFailures'] as const;

export const DEFAULT_TRIP: Trip = ({ consecutiveFailures }) => consecutiveFailures > 5;

export class CircuitBreaker {
  private current: BreakerState = 'closed';
  private counts = zero();
  /** When closed: the counts begin anew; when open: it becomes half-open. */
  private until: number;
  private readonly settings: BreakerSettings;
  private readonly onChange: (from: BreakerState, to: BreakerState) => void;
  private readonly now: () => number;

  /** `now` is a clock in milliseconds that never goes back. */
  constructor(settings: BreakerSettings, onChange: CircuitBreaker['onChange'], now: () => number) {
    this.settings = settings;
    this.onChange = onChange;
    this.now = now;
    this.until = now() + settings.intervalMs;
  }

  get state(): BreakerState {
    return this.current;
  }

  /** Makes the call and counts it by `judge`, or returns what `refuse` makes of the refusal. Rejects as the call does, which is a failure. */
  async run<T>(call: () => Promise<T>, judge: (result: T) => Verdict, refuse: (refusal: Refusal) => T): Promise<T> {
    const refusal = this.enter();
    if (refusal) return refuse(refusal);
    const { counts } = this;
    let verdict: Verdict = 'failure';
    try {
      const result = await call();
      verdict = judge(result);
      return result;
    } finally {
      this.leave(counts, verdict);
    }
  }

  private enter(): Refusal | undefined {
    this.catchUp();
    const { maxRequests, timeoutMs } = this.settings;
    if (this.current === 'open') {
      return { reason: 'circuit breaker is open', afterMs: Math.ceil(this.until - this.now()) };
    }
    if (this.current === 'half-open' && this.counts.requests >= maxRequests) {
      return { reason: 'too many requests', afterMs: Math.min(BUSY_MS, timeoutMs) };
    }
    this.counts.requests++;
    return undefined;
  }

  /** `counts` are those of when the call began. When others have taken their place it came too late to count. */
  private leave(counts: Counts, verdict: Verdict): void {
    this.catchUp();
    if (counts !== this.counts) return;
    if (verdict === 'abandoned') {
      counts.requests--;
    } else if (verdict === 'success') {
      counts.totalSuccesses++;
      counts.consecutiveSuccesses++;
      counts.consecutiveFailures = 0;
      if (this.current === 'half-open' && counts.consecutiveSuccesses >= this.settings.maxRequests) this.turn('closed');
    } else {
      counts.totalFailures++;
      counts.consecutiveFailures++;
      counts.consecutiveSuccesses = 0;
      if (this.current === 'half-open' || this.settings.trip(counts)) this.turn('open');
    }
  }

  private catchUp(): void {
    if (this.now() < this.until) return;
    this.turn(this.current === 'open' ? 'half-open' : 'closed');
  }

  private turn(to: BreakerState): void {
    const from = this.current;
    const { intervalMs, timeoutMs } = this.settings;
    this.current = to;
    this.counts = zero();
    this.until = to === 'half-open' ? Infinity : this.now() + (to === 'open' ? timeoutMs : intervalMs);
    if (from !== to) this.onChange(from, to);
  }
}

const zero = (): Counts => ({
  requests: 0,
  totalSuccesses: 0,
  totalFailures: 0,
  consecutiveSuccesses: 0,
  consecutiveFailures: 0,
});

/**
 * A trip from CEL over the counts. Rejects with an Error naming the place when the text is no CEL, names something
 * else, or cannot give a boolean. One that cannot be evaluated for the counts as they are, which a division by zero
 * cannot, does not trip.
 */
export async function compileTrip(source: string, place: string): Promise<Trip> {
  const evaluate = await parse(source).catch((cause: unknown) => {
    throw new Error(`${place} is '${source}': ${messageOf(cause).split('\n', 1)[0]}`, { cause });
  });
  return (counts) => {
    try {
      return evaluate(Object.fromEntries(COUNTS.map((name) => [name, BigInt(counts[name])]))) === true;
    } catch {
      return false;
    }
  };
}

/** CEL is loaded only where a trip is written: it is a tenth of the start-up time. */
async function parse(source: string): Promise<(counts: Record<string, bigint>) => unknown> {
  const { Environment } = await import('@marcbachmann/cel-js');
  const cel = new Environment();
  for (const name of COUNTS) cel.registerVariable(name, 'int');
  const evaluate = cel.parse(source);
  const { valid, type = '', error } = evaluate.check();
  if (!valid) throw error;
  if (type !== 'bool' && type !== 'dyn') throw new Error(`it gives ${type}, not bool`);
  return evaluate;
}
