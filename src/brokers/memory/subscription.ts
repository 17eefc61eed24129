import type { Handler, InboundMessage, Subscription } from '../../core/broker.ts';
import type { Entry, Queue } from './queue.ts';

export class MemorySubscription implements Subscription {
  private readonly queue: Queue;
  private readonly handler: Handler;
  private readonly concurrency: number;
  private readonly onEnd: () => void;
  private readonly held = new Set<Entry>();
  private readonly lease = new AbortController();
  private ending: Promise<void> | undefined;
  private readonly drained = Promise.withResolvers<void>();

  constructor(queue: Queue, handler: Handler, concurrency: number, onEnd: () => void) {
    this.queue = queue;
    this.handler = handler;
    this.concurrency = concurrency;
    this.onEnd = onEnd;
  }

  get isFree(): boolean {
    return !this.ending && this.held.size < this.concurrency;
  }

  take(entry: Entry, message: InboundMessage): void {
    this.held.add(entry);
    void this.handler(message, this.lease.signal).then((outcome) => {
      if (!this.held.delete(entry)) return;
      this.queue.settle(entry, outcome);
      if (this.ending && this.held.size === 0) this.drained.resolve();
    });
  }

  close(deadline: AbortSignal): Promise<void> {
    if (deadline.aborted) this.drained.resolve();
    else deadline.addEventListener('abort', () => this.drained.resolve(), { once: true });
    return (this.ending ??= this.end());
  }

  private async end(): Promise<void> {
    if (this.held.size > 0) await this.drained.promise;
    const unsettled = [...this.held];
    this.held.clear();
    this.lease.abort();
    this.queue.leave(this, unsettled);
    this.onEnd();
  }
}
