import { Redis, type Cluster } from 'ioredis';
import type { OutboundMessage, PublishFailure } from '../../core/broker.ts';
import { bulkString, Burst, NO_ARGUMENTS, type Waiter } from './burst.ts';
import type { Connection } from './connection.ts';
import { ALWAYS_TAKEN, payloadLimit, tooLarge } from './payload-limit.ts';
import { reasonOf } from './reason.ts';
import { ReplicatedBurst, type Replication } from './replicated-burst.ts';
import { nodeOf, type Client } from './servers.ts';

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
/** How a node of a cluster says that another one has the topic. It has stored nothing. */
const ELSEWHERE = /error from publish: MOVED /;

/**
 * Adds messages to streams. What is published in the same turn of the event loop goes out with one write. Nothing is
 * sent twice: when an answer does not come, the publish has failed.
 */
export class Publisher {
  private readonly connection: Connection;
  private readonly trimming: Trimming;
  private readonly replication: Replication | undefined;
  private bytes = 0;
  private readonly bursts = new WeakMap<Redis, Burst | ReplicatedBurst>();

  /** With `replication` the connection must be for nothing else: it does not answer while the server waits. */
  constructor(connection: Connection, trimming: Trimming, replication: Replication | undefined) {
    this.connection = connection;
    this.trimming = trimming;
    this.replication = replication;
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    let bytes = 0;
    for (const { data } of messages) bytes += data.length;
    if (this.bytes > 0 && this.bytes + bytes > MAX_BYTES) return refuse(messages, 'too many messages are on their way');
    this.bytes += bytes;
    try {
      const client = this.connection.client ?? (await this.connection.ready(PATIENCE_MS));
      const isLarge = bytes > ALWAYS_TAKEN && messages.some(({ data }) => data.length > ALWAYS_TAKEN);
      return await (isLarge ? this.addTaken(client, topic, messages) : this.add(client, topic, messages));
    } catch (error) {
      return refuse(messages, reasonOf(error));
    } finally {
      this.bytes -= bytes;
    }
  }

  private add(client: Client, topic: string, messages: readonly OutboundMessage[]): Publication['done'] {
    if (client instanceof Redis) return this.addTogether(client, topic, messages);
    return this.replication ? this.addToNode(client, topic, messages) : this.addEach(client, topic, messages);
  }

  /** Without those over which the server would end the connection. */
  private async addTaken(client: Client, topic: string, messages: readonly OutboundMessage[]): Publication['done'] {
    const limit = await payloadLimit(client);
    const refused = messages.flatMap(({ data }, index) =>
      data.length > limit ? [{ index, error: failure(tooLarge(data.length, limit)) }] : [],
    );
    const taken = [...messages.keys()].filter((index) => refused.every((one) => one.index !== index));
    return [...refused, ...(await addSome(messages, taken, (some) => this.add(client, topic, some)))];
  }

  private addTogether(client: Redis, topic: string, messages: readonly OutboundMessage[]): Publication['done'] {
    const burst = this.bursts.get(client) ?? this.createBurst(client);
    const publication = new Publication(messages.length);
    const trim = this.trim();
    const head = Buffer.from(
      `*${7 + trim.length}\r\n${['XADD', topic, ...trim, '*', 'data'].map(bulkString).join('')}`,
    );
    for (const [index, { data, metadata }] of messages.entries()) {
      const json = JSON.stringify(metadata);
      const tail = json === '{}' ? NO_METADATA : `\r\n${METADATA}${bulkString(json)}`;
      burst.add([head, `$${data.length}\r\n`, data, tail], new Reply(publication, index));
    }
    return publication.done;
  }

  private createBurst(client: Redis): Burst | ReplicatedBurst {
    const burst = this.replication ? new ReplicatedBurst(client, this.replication) : new Burst(client);
    this.bursts.set(client, burst);
    return burst;
  }

  /** On a cluster, where a write and its WAIT have to go to the same node: the client would send each its own way. */
  private async addToNode(
    cluster: Cluster,
    topic: string,
    messages: readonly OutboundMessage[],
  ): Promise<readonly PublishFailure[]> {
    const failures = await this.addTogether(await nodeOf(cluster, topic), topic, messages);
    const left = failures.filter(({ error }) => ELSEWHERE.test(error.message)).map(({ index }) => index);
    if (left.length === 0) return failures;
    const node = await nodeOf(cluster, topic, 'afresh');
    const failedAgain = await addSome(messages, left, (some) => this.addTogether(node, topic, some));
    return [...failures.filter(({ index }) => !left.includes(index)), ...failedAgain];
  }

  /** On a cluster the client finds out where the topic is. */
  private addEach(client: Client, topic: string, messages: readonly OutboundMessage[]): Publication['done'] {
    const publication = new Publication(messages.length);
    for (const [index, { data, metadata }] of messages.entries()) {
      const reply = new Reply(publication, index);
      const bytes = Buffer.from(data.buffer, data.byteOffset, data.length);
      const fields = ['data', bytes, 'metadata', JSON.stringify(metadata)];
      client.callBuffer('xadd', [topic, ...this.trim(), '*', ...fields]).then(
        () => reply.resolve(),
        (error: Error) => reply.reject(error),
      );
    }
    return publication.done;
  }

  private trim(): readonly (string | number)[] {
    const { maxLength, maxAgeMs } = this.trimming;
    if (maxLength > 0) return ['MAXLEN', '~', maxLength];
    return maxAgeMs > 0 ? ['MINID', '~', `${Date.now() - maxAgeMs}-1`] : [];
  }
}

const METADATA = bulkString('metadata');
const NO_METADATA = Buffer.from(`\r\n${METADATA}${bulkString('{}')}`);

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

const failure = (reason: string): Error => new Error(`redis streams: error from publish: ${reasonOf(reason)}`);

/** Adds those of these indices; their failures have them, too. */
async function addSome(
  messages: readonly OutboundMessage[],
  indices: readonly number[],
  add: (some: readonly OutboundMessage[]) => Publication['done'],
): Promise<PublishFailure[]> {
  const failures = await add(indices.map((index) => messages[index] as OutboundMessage));
  return failures.map(({ index, error }) => ({ index: indices[index] as number, error }));
}

const refuse = (messages: readonly OutboundMessage[], reason: string): PublishFailure[] =>
  messages.map((_, index) => ({ index, error: failure(reason) }));
