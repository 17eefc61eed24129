/** Waiting times that grow. */
export interface Backoff {
  readonly initialMs: number;
  readonly factor: number;
  readonly maxMs: number;
  /** 0.2 spreads each wait evenly over 80-120 %. */
  readonly jitter: number;
}

/** Milliseconds to wait after the `attempt`-th failure, counted from 1. */
export function backoffMs(backoff: Backoff, attempt: number, random: () => number = Math.random): number {
  const exponent = Math.min(Math.max(attempt, 1) - 1, 64);
  const plain = Math.min(backoff.initialMs * backoff.factor ** exponent, backoff.maxMs);
  return Math.round(plain * (1 + backoff.jitter * (2 * random() - 1)));
}
