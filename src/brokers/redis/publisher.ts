import { Redis } from 'ioredis';
import type { OutboundMessage, PublishFailure } from '../../core/broker.ts';
import { messageOf } from '../../core/errors.ts';
import { bulkString, Burst, type Waiter } from './burst.ts';
import type { Connection } from './connection.ts';
import type { Client } from './servers.ts';

export interface Trimming {
  /** 0: off. */
  readonly maxLength: number;
  /** 0: off. */
  readonly maxAgeMs: number;
}

/** How long a publish waits for a server that is away. */
const PATIENCE_MS = 1000;
/** Payloads on their way. More is refused, so that a slow server does not fill the memory. */
const MAX_BYTES = 64 * 2 ** 20;
/** How the client says that a connection ended, before or after it has noticed. */
const CLOSED = /^(Connection is closed|Stream isn't writeable)/;

/**
 * Adds messages to streams. What is published in the same turn of the event loop goes out with one write. Nothing is
 * sent twice: when an answer does not come, the publish has failed.
 */
export class Publisher {
  private readonly connection: Connection;
  private readonly trimming: Trimming;
  private bytes = 0;
  private burst: Burst | undefined;

  constructor(connection: Connection, trimming: Trimming) {
    this.connection = connection;
    this.trimming = trimming;
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    let bytes = 0;
    for (const { data } of messages) bytes += data.length;
    if (this.bytes > 0 && this.bytes + bytes > MAX_BYTES) return refuse(messages, 'too many messages are on their way');
    this.bytes += bytes;
    try {
      const client = this.connection.client ?? (await this.connection.ready(PATIENCE_MS));
      const publication = new Publication(messages.length);
      if (client instanceof Redis) this.addTogether(client, topic, messages, publication);
      else this.addEach(client, topic, messages, publication);
      return await publication.done;
    } catch (error) {
      return refuse(messages, messageOf(error));
    } finally {
      this.bytes -= bytes;
    }
  }

  private addTogether(client: Redis, topic: string, messages: readonly OutboundMessage[], to: Publication): void {
    if (!this.burst?.goesTo(client)) this.burst = new Burst(client);
    const trim = this.trim();
    const head = `*${7 + trim.length}\r\n${['XADD', topic, ...trim, '*', 'data'].map(bulkString).join('')}`;
    for (const [index, { data, metadata }] of messages.entries()) {
      const tail = `\r\n${METADATA}${bulkString(JSON.stringify(metadata))}`;
      this.burst.add([`${head}$${data.length}\r\n`, data, tail], new Reply(to, index));
    }
  }

  /** On a cluster the client finds out where the topic is. */
  private addEach(client: Client, topic: string, messages: readonly OutboundMessage[], to: Publication): void {
    for (const [index, { data, metadata }] of messages.entries()) {
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
      const fields = ['data', bytes, 'metadata', JSON.stringify(metadata)];
      const reply = new Reply(to, index);
      client.callBuffer('xadd', [topic, ...this.trim(), '*', ...fields]).then(
        () => reply.resolve(),
        (error: Error) => reply.reject(error),
      );
    }
  }

  private trim(): readonly (string | number)[] {
    const { maxLength, maxAgeMs } = this.trimming;
    if (maxLength > 0) return ['MAXLEN', '~', maxLength];
    return maxAgeMs > 0 ? ['MINID', '~', `${Date.now() - maxAgeMs}-1`] : [];
  }
}

const METADATA = bulkString('metadata');

/** Resolves when every message of one publish has its reply. */
class Publication {
  readonly done: Promise<readonly PublishFailure[]>;
  private readonly finish: (failures: readonly PublishFailure[]) => void;
  private readonly failures: PublishFailure[] = [];
  private open: number;

  constructor(messages: number) {
    this.open = messages;
    const { promise, resolve } = Promise.withResolvers<readonly PublishFailure[]>();
    this.done = promise;
    this.finish = resolve;
    if (messages === 0) resolve([]);
  }

  settle(index: number, reason?: string): void {
    if (reason !== undefined) this.failures.push({ index, error: failure(reason) });
    if (--this.open === 0) this.finish(this.failures);
  }
}

class Reply implements Waiter {
  readonly name = 'xadd';
  readonly args: [] = NO_ARGUMENTS;
  private readonly publication: Publication;
  private readonly index: number;

  constructor(publication: Publication, index: number) {
    this.publication = publication;
    this.index = index;
  }

  resolve(): void {
    this.publication.settle(this.index);
  }

  reject({ message }: Error): void {
    this.publication.settle(this.index, message);
  }
}

const NO_ARGUMENTS: [] = [];

const failure = (reason: string): Error =>
  new Error(`redis streams: error from publish: ${CLOSED.test(reason) ? 'the connection was closed' : reason}`);

const refuse = (messages: readonly OutboundMessage[], reason: string): PublishFailure[] =>
  messages.map((_, index) => ({ index, error: failure(reason) }));
