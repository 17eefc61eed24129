import { hash } from 'node:crypto';
import type { Pulled } from './pulled.ts';

const MAX_REMEMBERED = 10_000;

/**
 * How often messages were tried that were given back, so that they go on counting when they come again. By their bytes
 * too: a component that was started anew may use its ids anew.
 */
export class Attempts {
  private readonly made = new Map<string, number>();

  remember(pulled: Pulled, attempt: number): void {
    if (attempt === 0) return;
    const [oldest] = this.made.keys();
    if (this.made.size >= MAX_REMEMBERED && oldest !== undefined) this.made.delete(oldest);
    this.made.set(keyOf(pulled), attempt);
  }

  /** Once for each that was remembered; 0 for all others. */
  recall(pulled: Pulled): number {
    if (this.made.size === 0) return 0;
    const key = keyOf(pulled);
    const attempt = this.made.get(key) ?? 0;
    this.made.delete(key);
    return attempt;
  }
}

const keyOf = ({ topic, id, data }: Pulled): string => JSON.stringify([topic, id, hash('sha1', data, 'base64')]);
