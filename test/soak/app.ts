/** The parent's end of app-process.ts. */

import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../_support/until.ts';
import type { Ledger } from './ledger.ts';

export interface AppPlan {
  readonly port: number;
  /** Where it notes what it has handled. */
  readonly file: string;
  /** What it answers to the sidecar's question. */
  readonly subscriptions: readonly object[];
}

/** How it behaves; what is left out is well. */
export interface Mood {
  /** Part of the events that fail, from 0 to 1. */
  readonly failures?: number;
  /** How long it takes for an event. */
  readonly delayMs?: number;
  /** The same for events of topic `slow`. */
  readonly slowMs?: number;
}

const CHUNK = 65_536;

/** Leaves no listener behind. */
async function answerOrEnd(child: ChildProcess): Promise<void> {
  const over = new AbortController();
  const { signal } = over;
  await Promise.race([once(child, 'message', { signal }), once(child, 'exit', { signal })]);
  over.abort();
}

export class App {
  readonly port: number;
  /** Hears of every event that it began with, also where it failed then; `-` is for what is no event of ours. */
  onBegun: (seq: string) => void = () => undefined;
  private readonly directory: string;
  private readonly ledger: Ledger;
  private readonly subscriptions: readonly object[];
  private mood: Mood = {};
  private child: ChildProcess | undefined;
  private runs = 0;
  private file = '';
  private offset = 0;
  private rest = '';

  constructor(port: number, directory: string, subscriptions: readonly object[], ledger: Ledger) {
    this.port = port;
    this.directory = directory;
    this.subscriptions = subscriptions;
    this.ledger = ledger;
  }

  get isRunning(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    this.read();
    if (this.file !== '') rmSync(this.file);
    [this.file, this.offset, this.rest] = [join(this.directory, `app-${++this.runs}`), 0, ''];
    const plan: AppPlan = { port: this.port, file: this.file, subscriptions: this.subscriptions };
    this.child = fork(join(import.meta.dirname, 'app-process.ts'), [JSON.stringify(plan)], { execArgv: [] });
    await answerOrEnd(this.child);
    await this.become(this.mood);
  }

  /** Resolves when it behaves so. */
  async become(mood: Mood): Promise<void> {
    this.mood = mood;
    const { child } = this;
    if (!child?.connected) return;
    child.send(mood);
    await answerOrEnd(child);
  }

  async kill(): Promise<void> {
    if (!this.isRunning) return;
    this.child?.kill('SIGKILL');
    await until(() => !this.isRunning, 'the app is gone');
  }

  /** Tells the ledger what it has handled since the last time. */
  read(): void {
    if (!existsSync(this.file)) return;
    const file = openSync(this.file, 'r');
    try {
      const chunk = Buffer.alloc(CHUNK);
      for (let got = CHUNK; got === CHUNK;) {
        got = readSync(file, chunk, 0, CHUNK, this.offset);
        this.offset += got;
        const lines = (this.rest + chunk.toString('latin1', 0, got)).split('\n');
        this.rest = lines.pop() ?? '';
        for (const line of lines) this.take(line[0] as string, line.slice(1));
      }
    } finally {
      closeSync(file);
    }
  }

  private take(kind: string, seq: string): void {
    if (kind === 's') return this.onBegun(seq);
    if (seq !== '-') this.ledger.handle(Number(seq), kind === 'd' ? 'dead-letter topic' : 'app');
  }
}
