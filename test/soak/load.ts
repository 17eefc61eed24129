/** Publishes numbered events over HTTP at a steady rate, to whichever sidecars there are. */

import { Agent, request } from 'node:http';
import type { Ledger } from './ledger.ts';

const TICK_MS = 10;
/** Beyond so many unanswered requests none is added: the rate is what the sidecar can bear. */
const MAX_IN_FLIGHT = 500;
const MOST_BEHIND = 1000;
const ANSWER_MS = 20_000;

export interface Target {
  readonly httpPort: number;
  /** One that is known to be dead gets nothing. */
  readonly isRunning: boolean;
}

export class Load {
  /** The longest that a publish took to be answered, in milliseconds. */
  slowestMs = 0;
  private readonly ledger: Ledger;
  private readonly targets: readonly Target[];
  private readonly agent = new Agent({ keepAlive: true, maxSockets: MAX_IN_FLIGHT });
  private readonly inFlight = new Set<Promise<unknown>>();
  private timer: NodeJS.Timeout | undefined;
  private turn = 0;

  constructor(ledger: Ledger, targets: readonly Target[]) {
    this.ledger = ledger;
    this.targets = targets;
  }

  /**
   * `perSecond` events, until it is stopped; fewer while more than `mostBehind` are acknowledged and not handled yet,
   * since on a machine that is too slow nothing would ever catch up.
   */
  start(perSecond: number, mostBehind = MOST_BEHIND): void {
    const { ledger } = this;
    const isFull = (): boolean =>
      this.inFlight.size >= MAX_IN_FLIGHT || ledger.acknowledged - ledger.handled > mostBehind;
    let due = 0;
    let last = performance.now();
    this.timer ??= setInterval(() => {
      const now = performance.now();
      due = Math.min(due + ((now - last) * perSecond) / 1000, MAX_IN_FLIGHT);
      last = now;
      for (; due >= 1 && !isFull(); due--) void this.publish();
    }, TICK_MS);
  }

  /** Resolves when every publish has been answered. */
  async stop(): Promise<void> {
    clearInterval(this.timer);
    this.timer = undefined;
    await Promise.all(this.inFlight);
  }

  close(): void {
    clearInterval(this.timer);
    this.agent.destroy();
  }

  /** One event. Resolves with the status of the answer, 0 when there was none; never rejects. */
  publish(topic = 'storm', extra: object = {}): Promise<{ readonly seq: number; readonly status: number }> {
    const seq = this.ledger.try();
    const began = performance.now();
    const answered = this.post(`/v1.0/publish/pubsub/${topic}`, JSON.stringify({ seq, ...extra })).then((status) => {
      this.inFlight.delete(answered);
      this.slowestMs = Math.max(this.slowestMs, performance.now() - began);
      if (status === 204) this.ledger.acknowledge(seq);
      else this.ledger.refuse(seq);
      return { seq, status };
    });
    this.inFlight.add(answered);
    return answered;
  }

  private post(path: string, body: string): Promise<number> {
    const running = this.targets.filter(({ isRunning }) => isRunning);
    const port = running[this.turn++ % Math.max(1, running.length)]?.httpPort;
    if (port === undefined) return Promise.resolve(0);
    return new Promise((resolve) => {
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const options = { host: '127.0.0.1', port, path, method: 'POST', headers, agent: this.agent, timeout: ANSWER_MS };
      const one = request(options, (response) => {
        response.resume();
        response.once('close', () => resolve(response.complete ? (response.statusCode ?? 0) : 0));
      });
      one.once('timeout', () => one.destroy());
      one.once('error', () => resolve(0));
      one.end(body);
    });
  }
}
