/** Whether the app is well, as probes find it (contract 6.4). */

import { MAX_TIMER_MS } from '../lib/deadline.ts';
import type { Log } from '../lib/log.ts';
import { sleep } from '../lib/sleep.ts';
import { messageOf } from './errors.ts';

export interface AppHealthOptions {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** Failures in a row that make a healthy app unhealthy. */
  readonly threshold: number;
}

export class AppHealth {
  private readonly probe: (signal: AbortSignal) => Promise<void>;
  private readonly options: AppHealthOptions;
  private readonly onChange: (healthy: boolean) => void;
  private readonly log: Log;
  private readonly listeners = new Set<() => void>();
  private healthy = false;

  /** `probe` rejects with the reason why the app is not well. */
  constructor(probe: AppHealth['probe'], options: AppHealthOptions, onChange: AppHealth['onChange'], log: Log) {
    this.probe = probe;
    this.options = options;
    this.onChange = onChange;
    this.log = log;
  }

  get isHealthy(): boolean {
    return this.healthy;
  }

  /** Probes until `signal` aborts; the first time at once. An app counts as unhealthy until it was found well. */
  async watch(signal: AbortSignal): Promise<void> {
    const timeoutMs = Math.min(this.options.timeoutMs, MAX_TIMER_MS);
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.probe(AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
        failures = 0;
        if (!this.healthy) this.change(true, 'App entered healthy status');
      } catch (error) {
        failures++;
        if (this.healthy && failures >= this.options.threshold && !signal.aborted) {
          this.change(false, `App entered un-healthy status: ${messageOf(error)}`);
        }
      }
      await sleep(this.options.intervalMs, signal);
    }
  }

  /** Resolves when the app is, or becomes, unhealthy, or when `signal` aborts. */
  async unhealthy(signal: AbortSignal): Promise<void> {
    if (!this.healthy || signal.aborted) return;
    await new Promise<void>((resolve) => {
      this.listeners.add(resolve);
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
  }

  private change(healthy: boolean, message: string): void {
    this.healthy = healthy;
    if (healthy) this.log.info(message);
    else this.log.warn(message);
    this.onChange(healthy);
    if (healthy) return;
    for (const listener of this.listeners) listener();
    this.listeners.clear();
  }
}
