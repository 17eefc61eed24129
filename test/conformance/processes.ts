/** The parent's end of broker-process.ts. */

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { until } from '../_support/until.ts';
import type { News, Opening, Order } from './broker-process.ts';

export interface Surroundings {
  /** Files cannot grow past this, as on a disk that is full. */
  readonly maxFileKiB?: number;
  readonly nodeOptions?: string;
}

export class BrokerProcess {
  readonly news: News[] = [];
  private readonly child: ChildProcess;

  private constructor(opening: Opening, { maxFileKiB, nodeOptions }: Surroundings) {
    const script = join(import.meta.dirname, 'broker-process.ts');
    const limited = ['-c', `ulimit -f ${maxFileKiB}; exec "$0" "$@"`, process.execPath];
    this.child = fork(script, [JSON.stringify(opening)], {
      ...(nodeOptions !== undefined && { env: { ...process.env, NODE_OPTIONS: nodeOptions } }),
      execArgv: maxFileKiB === undefined ? [] : limited,
      ...(maxFileKiB !== undefined && { execPath: 'bash' }),
    });
    this.child.on('message', (news: News) => this.news.push(news));
  }

  /** Resolves when the broker is open. */
  static async start(opening: Opening, surroundings: Surroundings = {}): Promise<BrokerProcess> {
    const process = new BrokerProcess(opening, surroundings);
    await process.until('ready');
    return process;
  }

  tell(order: Order): void {
    this.child.send(order);
  }

  async subscribe(topic: string, options: { hold: boolean; retryMs?: number; uncounted?: true }): Promise<void> {
    this.tell({ order: 'subscribe', topic, ...options });
    await this.until('subscribed');
  }

  async until(event: News['event'], count = 1): Promise<void> {
    const told = (): boolean => this.count(event) >= count;
    await until(() => told() || this.hasEnded, `a process told of ${count} ${event}`, 60_000);
    if (!told()) throw new Error(`a process ended before it told of ${count} ${event}`);
  }

  private get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  count(event: News['event']): number {
    return this.news.filter((news) => news.event === event).length;
  }

  /** The texts it told of. */
  texts(event: 'acknowledged' | 'refused' | 'aborted' | 'delivered'): string[] {
    return this.news.flatMap((news) => ('text' in news && news.event === event ? [news.text] : []));
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends it without a chance to tidy up. Resolves when all it told is there. */
  async kill(): Promise<void> {
    if (this.hasEnded) return;
    const ended = once(this.child, 'close');
    this.child.kill('SIGKILL');
    await ended;
  }
}
