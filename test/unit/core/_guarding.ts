import type { Policy } from '../../../src/core/guard.ts';
import { DEFAULT_TRIP, type BreakerSettings } from '../../../src/core/circuit-breaker.ts';
import type { OutboundMessage } from '../../../src/core/broker.ts';
import { publishCode } from '../../../src/core/publish-code.ts';
import { NO_POLICIES, Resiliency } from '../../../src/core/resiliency.ts';
import type { Retry } from '../../../src/core/retry-policy.ts';
import { memoryLog } from '../config/_support.ts';

export const defined = <T>(name: string, value: T) => ({ name, resource: 'r1', value });
export const retry = (more: Partial<Retry> = {}): Retry => ({
  backoff: { initialMs: 1, factor: 1, maxMs: 1, jitter: 0 },
  maxRetries: 3,
  retriesInTime: Infinity,
  ...more,
});
export const breaker = (more: Partial<BreakerSettings> = {}): BreakerSettings => ({
  maxRequests: 1,
  intervalMs: Infinity,
  timeoutMs: 60_000,
  trip: DEFAULT_TRIP,
  ...more,
});
export const AT_ONCE = breaker({ trip: () => true });

/** A Resiliency with a clock of its own where every component has this policy. */
export function resiliencyWith(policy: Policy) {
  const log = memoryLog();
  const told: string[] = [];
  let ms = 0;
  const resiliency = new Resiliency({
    log,
    now: () => ms,
    random: () => 0.5,
    onPolicy: (event, { kind, direction, component, status }) =>
      told.push([event, kind, direction, component, status].join(' ').trim()),
  });
  resiliency.use({ ...NO_POLICIES, of: () => policy });
  return { resiliency, lines: log.lines, told, pass: (more: number) => void (ms += more) };
}

export const messages = (count: number): OutboundMessage[] =>
  Array.from({ length: count }, (_, index) => ({ data: Buffer.from([index]), contentType: '', metadata: {} }));

/** A broker that refuses what `errorOf` gives an error for; what it was sent, by the first byte. */
export function brokerOf(errorOf: (message: number, attempt: number) => Error | undefined) {
  const sent: number[][] = [];
  const publish = async (some: readonly OutboundMessage[]) => {
    const numbers = some.map(({ data }) => data[0] as number);
    sent.push(numbers);
    const attempt = sent.length;
    return numbers.flatMap((number, index) => {
      const error = errorOf(number, attempt);
      return error ? [{ index, error }] : [];
    });
  };
  return { publish, sent };
}

export const coded = (code: number): Error => Object.assign(new Error(`code ${code}`), { code });
export const codeOf = (error: Error): number => publishCode(error, 'grpc');
