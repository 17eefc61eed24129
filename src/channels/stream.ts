/** A recipient at the other end of a stream: events go out, and what became of each comes back under its id. */

import type { TopicEventResponse } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { GrpcCode } from '../core/errors.ts';
import type { Answer, Recipient, TopicEvent } from '../core/recipient.ts';
import { encode } from './message-writer.ts';
import { answerOfStatus } from './outcome.ts';
import { idOf, streamedEvent, type UnknownData } from './topic-event.ts';

interface Waiting {
  /** The message that carries the event. */
  readonly message: Uint8Array;
  readonly finish: (answer: Answer) => void;
}

const CLOSED: Answer = { kind: 'retry', reason: 'the stream ended before the event was answered' };
const TOO_LONG: Answer = {
  kind: 'retry',
  reason: 'the event is longer than a message of the stream may be',
  code: GrpcCode.RESOURCE_EXHAUSTED,
};
const GIVEN_UP: Answer = { kind: 'retry', reason: 'the delivery was given up' };
/** Streams have no routes; every event says so. */
const PATH = '/';
export interface StreamOptions {
  readonly unknownData: UnknownData;
  /** Longest message that is sent; 0 or less: any. A longer one would end the stream, again with each redelivery. */
  readonly maxMessageBytes: number;
}

/** The way to the client. */
export interface StreamClient {
  /** Whether what was written waits for the client to read. */
  readonly isBehind: boolean;
  write(message: Uint8Array): void;
  /** Calls back each time the client, who was behind, has read all. */
  onDrain(listener: () => void): void;
}

export class StreamRecipient implements Recipient {
  private readonly client: StreamClient;
  private readonly options: StreamOptions;
  /**
   * Those that wait, by id. Of one id only the first is with the client: an answer names nothing but the id, so that of
   * two at once one could be settled by what was said of the other.
   */
  private readonly waiting = new Map<string, Waiting[]>();
  /**
   * Those that go out when the client has read what it is behind with. Were they written at once, each redelivery of an
   * event that is given up would add to what piles up for a client that never reads.
   */
  private readonly unsent = new Set<Waiting>();
  private readonly live = Promise.withResolvers<void>();
  private closed = false;

  constructor(client: StreamClient, options: StreamOptions) {
    this.client = client;
    this.options = options;
    client.onDrain(() => {
      const all = [...this.unsent];
      this.unsent.clear();
      for (const { message } of all) client.write(message);
    });
  }

  /** Nothing is sent before. */
  start(): void {
    this.live.resolve();
  }

  async deliver(event: TopicEvent, signal: AbortSignal): Promise<Answer> {
    await this.live.promise;
    if (this.closed) return CLOSED;
    if (signal.aborted) return GIVEN_UP;
    const { unknownData: unknown, maxMessageBytes } = this.options;
    const message = encode(streamedEvent, { event, path: PATH, unknown });
    if (maxMessageBytes > 0 && message.length > maxMessageBytes) return TOO_LONG;
    const id = idOf(event);
    return new Promise((resolve) => {
      const giveUp = (): void => this.settle(id, one, GIVEN_UP);
      const one: Waiting = {
        message,
        finish: (answer) => {
          signal.removeEventListener('abort', giveUp);
          resolve(answer);
        },
      };
      signal.addEventListener('abort', giveUp, { once: true });
      const others = this.waiting.get(id);
      if (others) return void others.push(one);
      this.waiting.set(id, [one]);
      this.send(one);
    });
  }

  deliverBulk(events: readonly TopicEvent[], signal: AbortSignal): Promise<Answer[]> {
    return Promise.all(events.map((event) => this.deliver(event, signal)));
  }

  /** What the client made of an event. False when no event of that id waits. */
  processed(id: string, response: TopicEventResponse | undefined): boolean {
    const [oldest] = this.waiting.get(id) ?? [];
    if (!oldest) return false;
    this.settle(id, oldest, answerOfStatus(response?.status ?? 0));
    return true;
  }

  /** Nobody is there any more. */
  close(): void {
    this.closed = true;
    this.live.resolve();
    for (const [id, all] of this.waiting) for (const one of [...all]) this.settle(id, one, CLOSED);
  }

  private settle(id: string, one: Waiting, answer: Answer): void {
    const all = this.waiting.get(id) ?? [];
    const place = all.indexOf(one);
    if (place < 0) return;
    all.splice(place, 1);
    this.unsent.delete(one);
    const [next] = all;
    if (!next) this.waiting.delete(id);
    else if (place === 0 && !this.closed) this.send(next);
    one.finish(answer);
  }

  private send(one: Waiting): void {
    if (this.client.isBehind) this.unsent.add(one);
    else this.client.write(one.message);
  }
}
