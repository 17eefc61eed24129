/** A process with one broker, for tests that kill it. Does what its parent orders and tells what happens. */

import { FACTORIES } from '../../src/brokers/index.ts';
import type { Outcome } from '../../src/core/broker.ts';
import { contextOf, text, textOf } from './bench.ts';

export interface Opening {
  readonly type: string;
  readonly settings: Readonly<Record<string, string>>;
  readonly consumerId: string;
  readonly home: string;
}

export type Order =
  /**
   * `hold`: the handlers do not end before their signal aborts, and succeed then, too late. `retryMs`: after the first
   * attempt a message waits so long; `uncounted`: and that was no attempt.
   */
  | {
      readonly order: 'subscribe';
      readonly topic: string;
      readonly hold: boolean;
      readonly retryMs?: number;
      readonly uncounted?: true;
    }
  /** Publishes `prefix-0`, `prefix-1` ... one by one, `inFlight` at once. */
  | {
      readonly order: 'publish';
      readonly topic: string;
      readonly prefix: string;
      readonly count: number;
      readonly inFlight: number;
    };

export type News =
  | { readonly event: 'ready' | 'subscribed' | 'published' }
  | { readonly event: 'acknowledged' | 'refused' | 'aborted'; readonly text: string }
  | { readonly event: 'delivered'; readonly text: string; readonly attempt: number };

const SUCCESS: Outcome = { kind: 'success' };
/** Resolves when the parent will hear of it, even if this process is killed then. */
const tell = (news: News): Promise<void> => new Promise((resolve) => process.send?.(news, () => resolve()));

const { type, settings, consumerId, home } = JSON.parse(process.argv[2] as string) as Opening;
const factory = FACTORIES.find((one) => one.type === type);
if (!factory) throw new Error(`no broker is of type ${type}`);
const broker = await factory.open(settings, contextOf(consumerId, home));

async function subscribe({ topic, hold, retryMs, uncounted }: Order & { order: 'subscribe' }): Promise<void> {
  await broker.subscribe(topic, { metadata: {} }, async (message, signal) => {
    const told = tell({ event: 'delivered', text: textOf(message), attempt: message.attempt });
    if (retryMs !== undefined && message.attempt === 1) {
      return told.then(() => ({ kind: 'retry', afterMs: retryMs, ...(uncounted && { uncounted }) }));
    }
    if (!hold) return told.then(() => SUCCESS);
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        void tell({ event: 'aborted', text: textOf(message) });
        resolve(SUCCESS);
      });
    });
  });
  await tell({ event: 'subscribed' });
}

async function publish({ topic, prefix, count, inFlight }: Order & { order: 'publish' }): Promise<void> {
  let next = 0;
  const publishers = Array.from({ length: inFlight }, async () => {
    while (next < count) {
      const content = `${prefix}-${next++}`;
      const failures = await broker.publish(topic, [text(content)]);
      void tell({ event: failures.length === 0 ? 'acknowledged' : 'refused', text: content });
    }
  });
  await Promise.all(publishers);
  await tell({ event: 'published' });
}

process.on('message', (order: Order) => {
  void (order.order === 'subscribe' ? subscribe(order) : publish(order));
});
void tell({ event: 'ready' });
