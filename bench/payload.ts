/** The events of the bench: JSON objects that carry which run they belong to, their number, and when they were sent. */

/** Microseconds of the machine's monotonic clock, the same in every process. */
export const now = (): number => Number(process.hrtime.bigint() / 1000n);

/** A JSON object of `size` ASCII characters (or the few it needs at least). */
export function payload(run: number, seq: number, size: number): string {
  const head = `{"run":${run},"seq":${seq},"sent":${now()},"pad":"`;
  return `${head}${'x'.repeat(Math.max(size - head.length - 2, 0))}"}`;
}

export interface Stamp {
  readonly run: number;
  readonly seq: number;
  readonly sent: number;
}

const STAMP = /"run":\s*(\d+),\s*"seq":\s*(\d+),\s*"sent":\s*(\d+)/;

/** What `payload` wrote, from its bytes or from the CloudEvent around it. */
export function readStamp(body: Buffer): Stamp | undefined {
  const start = body.indexOf('"run":');
  const match = start < 0 ? null : STAMP.exec(body.toString('latin1', start, start + 100));
  return match ? { run: Number(match[1]), seq: Number(match[2]), sent: Number(match[3]) } : undefined;
}

/** The value that the share `q` of the sorted values do not exceed; 0 when there are none. */
export const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.floor(q * (sorted.length - 1))] ?? 0;
