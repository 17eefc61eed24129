import { formatGoDuration } from './duration.ts';
import type { Log } from './log.ts';

/** How long the same sentence is not repeated. */
const QUIET_MS = 30_000;
const MAX_REMEMBERED = 100;

/** Says what happens to the connection with a server once, however often it is found out. */
export class Teller {
  private readonly log: Log;
  private readonly who: string;
  private awaySince: number | undefined;
  private readonly said = new Map<string, number>();

  /** `who` is the server as people know it, for example `kafka at localhost:9092`. */
  constructor(log: Log, who: string) {
    this.log = log;
    this.who = who;
  }

  away(reason: string): void {
    if (this.awaySince !== undefined) return;
    this.awaySince = performance.now();
    this.log.warn(`${this.who} cannot be reached, trying again: ${reason}`);
  }

  back(): void {
    if (this.awaySince === undefined) return;
    const seconds = Math.ceil((performance.now() - this.awaySince) / 1000);
    this.awaySince = undefined;
    this.log.info(`${this.who} is back after ${formatGoDuration(seconds * 1000)}`);
  }

  /**
   * For what goes on by itself but somebody should know. Not while the server is away, which explains it, and not of
   * everything where a thousand topics have the same trouble.
   */
  note(text: string): void {
    const now = performance.now();
    if (this.awaySince !== undefined || now - (this.said.get(text) ?? -Infinity) < QUIET_MS) return;
    for (const [old, at] of this.said) {
      if (now - at < QUIET_MS) break; // they are in the order of their times
      this.said.delete(old);
    }
    if (this.said.size > MAX_REMEMBERED) return;
    this.said.set(text, now);
    const isOneTooMany = this.said.size > MAX_REMEMBERED;
    this.log.warn(isOneTooMany ? `${this.who}: there is more of this, which is not told for now` : text);
  }
}
