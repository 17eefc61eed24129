/** What a sidecar logged, without keeping it: how often it says the same, and its last words. */

const KEPT = 60;
const MAX_KINDS = 1000;

export class LogBook {
  /** The most lines of one kind at level warning or worse within one second. */
  busiest = { lines: 0, kind: '' };
  readonly last: string[] = [];
  private second = '';
  private counts = new Map<string, number>();
  private rest = '';

  add(chunk: string): void {
    const lines = (this.rest + chunk).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) this.take(line);
  }

  /** Whether one of the last lines matches. */
  says(pattern: RegExp): boolean {
    return this.last.some((line) => pattern.test(line));
  }

  private take(line: string): void {
    this.last.push(line);
    if (this.last.length > KEPT) this.last.shift();
    if (!/level=(warning|error|fatal)/.test(line)) return;
    // By its own clock: a busy machine may bring the lines of several seconds at once.
    const now = /time="([^."]+)/.exec(line)?.[1] ?? '';
    if (now !== this.second || this.counts.size > MAX_KINDS) this.counts = new Map();
    this.second = now;
    const kind = (/msg=("(?:[^"\\]|\\.)*"|\S+)/.exec(line)?.[1] ?? line).replace(/\d+/g, 'N');
    const lines = (this.counts.get(kind) ?? 0) + 1;
    this.counts.set(kind, lines);
    if (lines > this.busiest.lines) this.busiest = { lines, kind };
  }
}
