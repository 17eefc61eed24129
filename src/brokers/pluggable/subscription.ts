import type { ClientDuplexStream } from '@grpc/grpc-js';
import type { PullMessagesRequest } from '../../../gen/dapr/proto/components/v1/pubsub.ts';
import type { GroupStats, Subscription } from '../../core/broker.ts';
import { messageOf } from '../../core/errors.ts';
import { backoffMs, type Backoff } from '../../lib/backoff.ts';
import type { Log } from '../../lib/log.ts';
import { sleep } from '../../lib/sleep.ts';
import type { Connection } from './connection.ts';
import { Hand, type HandOptions } from './hand.ts';
import { PluginError } from './plugin-error.ts';
import type { Pulled } from './pulled.ts';

export interface PullOptions extends Omit<HandOptions, 'onSettled' | 'onChange'> {
  readonly metadata: Readonly<Record<string, string>>;
  readonly connection: Connection;
  readonly log: Log;
  /** Something goes on while it closes: from then on the component should send nothing, until it has closed. */
  readonly whileClosing: (close: () => Promise<void>) => Promise<void>;
}

type Stream = ClientDuplexStream<PullMessagesRequest, Pulled>;

const BACKOFF: Backoff = { initialMs: 100, factor: 2, maxMs: 10_000, jitter: 0.2 };
const READY_MS = 5000;
/** How long the component may take to read the last acknowledgements and to end the stream. */
const LAST_WORDS_MS = 500;

/** A stream of messages, opened again whenever it ends. */
export class PluggableSubscription implements Subscription {
  readonly topic: string;
  private readonly options: PullOptions;
  private readonly closing = new AbortController();
  private readonly hurry = new AbortController();
  private readonly hand: Hand;
  private stream: Stream | undefined;
  private running: Promise<void> = Promise.resolve();
  private ending: Promise<void> | undefined;

  constructor(options: PullOptions) {
    this.topic = options.topic;
    this.options = options;
    this.hand = new Hand({
      ...options,
      onSettled: ({ id }) => this.stream?.write({ topic: undefined, ackMessageId: id, ackError: undefined }),
      onChange: () => this.regulate(),
    });
  }

  /** Resolves when the component has had the topic. Rejects when it refuses it. `asked` resolves when it answers. */
  async open(asked: () => Promise<void>): Promise<void> {
    await this.options.connection.ready(READY_MS);
    const ended = this.pull();
    const refused = ended.then((reason) => {
      throw new Error(`unable to subscribe: ${reason}`);
    });
    try {
      await Promise.race([asked(), refused]);
    } catch (error) {
      refused.catch(() => undefined);
      this.stream?.cancel();
      throw error;
    }
    refused.catch(() => undefined);
    this.running = this.keep(ended);
  }

  stats(): GroupStats {
    return this.hand.stats();
  }

  unpark(): number {
    return this.hand.unpark();
  }

  close(deadline: AbortSignal): Promise<void> {
    if (deadline.aborted) this.hurry.abort();
    else deadline.addEventListener('abort', () => this.hurry.abort(), { once: true });
    return (this.ending ??= this.hand.isBusy ? this.options.whileClosing(() => this.end()) : this.end());
  }

  private async end(): Promise<void> {
    this.closing.abort();
    this.stream?.pause();
    await this.hand.leave(this.hurry.signal);
    // The end is told only to who reads on; what still comes is the component's to hand out again.
    this.stream?.resume();
    this.stream?.end();
    await Promise.race([this.running, sleep(LAST_WORDS_MS, this.hurry.signal)]);
    this.stream?.cancel();
    await this.running;
  }

  /** Opens a stream. Resolves with the reason when it has ended; all it had in hand is given up then. */
  private pull(): Promise<string> {
    const { topic, metadata, connection } = this.options;
    const stream = connection.pull();
    this.stream = stream;
    stream.on('data', (pulled: Pulled) => {
      this.hand.take(pulled);
      this.regulate();
    });
    stream.write({ topic: { name: topic, metadata: { ...metadata } }, ackMessageId: '', ackError: undefined });
    return new Promise((resolve) => {
      const ended = (reason: string): void => {
        if (this.stream === stream) {
          this.stream = undefined;
          this.hand.lose();
        }
        resolve(reason);
      };
      stream.once('error', (error) => ended(PluginError.from(error).message));
      stream.once('end', () => ended('the component ended the stream'));
    });
  }

  private async keep(first: Promise<string>): Promise<void> {
    const { log, connection } = this.options;
    let began = performance.now();
    let reason = await first;
    for (let attempt = 1; !this.closing.signal.aborted; attempt++) {
      if (performance.now() - began > BACKOFF.maxMs) attempt = 1;
      log.warn(`stream of topic ${this.topic} has ended, opening it again: ${reason}`);
      await sleep(backoffMs(BACKOFF, attempt), this.closing.signal);
      while (!this.closing.signal.aborted && !(await isReady(connection))) continue;
      if (this.closing.signal.aborted) return;
      began = performance.now();
      reason = await this.pull().catch(messageOf);
    }
  }

  /** Reads no further while too much is in hand. */
  private regulate(): void {
    if (this.closing.signal.aborted) return;
    if (this.hand.isFull) this.stream?.pause();
    else if (this.stream?.isPaused()) this.stream.resume();
  }
}

const isReady = (connection: Connection): Promise<boolean> =>
  connection.ready(READY_MS).then(
    () => true,
    () => false,
  );
