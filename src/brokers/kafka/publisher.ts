/**
 * Publishing. Messages gather for each partition while a batch is on its way to its leader, and go together when the
 * leader has answered: alone a message goes at once, under load many share a request.
 */

import type { OutboundMessage, PublishFailure } from '../../core/broker.ts';
import { backoffMs } from '../../lib/backoff.ts';
import { asksForAvro, type Avro } from './avro.ts';
import { Accumulator, split, type Batch, type Job, type Waiting } from './accumulator.ts';
import { hasMoved, type Cluster, type Layout } from './cluster.ts';
import { CODECS } from './compression.ts';
import { errorOfCode, type ProtocolError } from './kafkajs.ts';
import { destinationOf, recordOf } from './outgoing.ts';
import { Identity } from './identity.ts';
import { PARTITIONERS } from './partitioner.ts';
import { produce, type BatchFor, type Produced } from './produce-request.ts';
import { encodeBatch, NOBODY, type OutboundRecord, type Sender } from './record-batch.ts';
import type { KafkaSettings } from './settings.ts';
import { Sticky } from './sticky.ts';

const ACKS = { all: -1, local: 1, none: 0 } as const;
/** How long a leader may wait for its replicas. */
const REPLICATION_MS = 10_000;
const BACKOFF = { initialMs: 100, factor: 2, maxMs: 1000, jitter: 0.2 };
/** Payloads that wait, at most. */
const MAX_WAITING = 64 * 2 ** 20;
const LEADER_NOT_AVAILABLE = 5;
const TOO_LARGE = [10, 18];
const SENT_BEFORE = 46;
/** The broker does not know the sender, or not its last numbers. */
const SENDER_LOST = [45, 47, 59];

export class Publisher {
  private readonly settings: KafkaSettings;
  private readonly cluster: Cluster;
  private readonly avro: Avro;
  /** By partition; with holes. */
  private readonly topics = new Map<string, (Accumulator | undefined)[]>();
  private readonly sticky = new Sticky();
  private readonly identity: Identity;
  private readonly busyNodes = new Set<number>();
  private waitingBytes = 0;
  private isFlushing = false;
  private closed: Error | undefined;

  constructor(settings: KafkaSettings, cluster: Cluster, avro: Avro) {
    this.settings = settings;
    this.cluster = cluster;
    this.identity = new Identity(cluster);
    this.avro = avro;
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    if (messages.length === 0) return [];
    const maxAge = this.settings.clientConnectionTopicMetadataRefreshInterval;
    let layout: Layout;
    try {
      layout = await this.cluster.layout(topic, maxAge);
    } catch (error) {
      if (this.closed) throw this.closed;
      return messages.map((_, index) => ({ index, error: error as Error }));
    }
    const failures: PublishFailure[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    let open = messages.length;
    const job: Job = {
      done: (index, error) => {
        if (error) failures.push({ index, error });
        if (--open === 0) resolve();
      },
    };
    for (const [index, message] of messages.entries()) {
      try {
        if (this.closed) throw this.closed;
        const isAvro = asksForAvro(message.metadata);
        const data = isAvro ? await this.avro.encode(topic, message.data) : message.data;
        const { key, partition } = destinationOf(message.metadata, layout.length);
        const record = recordOf(data, message.metadata, key, this.settings.excluded);
        this.refuse(record);
        this.add(topic, partition ?? this.partitionOf(topic, key, layout.length), record, job, index);
      } catch (error) {
        job.done(index, error as Error);
      }
    }
    await promise;
    return failures.sort((a, b) => a.index - b.index);
  }

  close(): void {
    this.closed = new Error('component is closed');
    for (const accumulators of this.topics.values()) {
      for (const accumulator of accumulators) if (accumulator) this.finish(accumulator.drain(), this.closed);
    }
  }

  private refuse({ value, key }: OutboundRecord): void {
    const { maxMessageBytes } = this.settings;
    const size = (value?.length ?? 0) + (key?.length ?? 0);
    if (size > maxMessageBytes) throw new Error(`the message has ${size} bytes, ${maxMessageBytes} is the limit`);
    if (this.waitingBytes > MAX_WAITING) throw new Error('too much waits to be published already');
  }

  private partitionOf(topic: string, key: Buffer | null, count: number): number {
    return key ? PARTITIONERS[this.settings.partitioner](key, count) : this.sticky.next(topic, count);
  }

  private add(topic: string, partition: number, record: OutboundRecord, job: Job, index: number): void {
    const accumulators = this.topics.get(topic) ?? [];
    this.topics.set(topic, accumulators);
    const accumulator = (accumulators[partition] ??= new Accumulator(topic, partition));
    this.waitingBytes += accumulator.add(record, job, index).size;
    this.flushSoon();
  }

  /** At the end of the turn, so that what is published in one goes in one request. */
  private flushSoon(): void {
    if (this.isFlushing) return;
    this.isFlushing = true;
    setImmediate(() => {
      this.isFlushing = false;
      this.flush();
    });
  }

  private flush(): void {
    const ready = new Map<number, Accumulator[]>();
    for (const [topic, accumulators] of this.topics) {
      const layout = this.cluster.known(topic);
      for (const accumulator of accumulators) {
        if (!accumulator?.isReady) continue;
        const leader = layout?.[accumulator.partition] ?? -1;
        if (this.busyNodes.has(leader)) continue;
        ready.set(leader, [...(ready.get(leader) ?? []), accumulator]);
      }
    }
    for (const [leader, accumulators] of ready) {
      this.busyNodes.add(leader);
      void this.send(leader, accumulators).finally(() => {
        this.busyNodes.delete(leader);
        this.flushSoon();
      });
    }
  }

  /** One request to one broker. Never rejects. */
  private async send(leader: number, accumulators: readonly Accumulator[]): Promise<void> {
    if (leader < 0 && (await this.findLeaders(accumulators))) return;
    const idle = accumulators.filter(({ isReady }) => isReady); // a leader may have been found, and gone, in the meantime
    for (const accumulator of idle) accumulator.isBusy = true;
    const batches = new Map(idle.map((one) => [one, this.take(one)]));
    const result = await this.deliver(leader, batches).catch((error: unknown) => error as Error);
    for (const [accumulator, batch] of batches) {
      const failure = result instanceof Error ? result : failureOf(result, accumulator);
      this.settle(accumulator, batch, failure);
    }
  }

  /** Whether one of them has a leader now. */
  private async findLeaders(accumulators: readonly Accumulator[]): Promise<boolean> {
    const topics = new Set(accumulators.map(({ topic }) => topic));
    await Promise.all([...topics].map((topic) => this.cluster.layout(topic, 0).catch(() => undefined)));
    return accumulators.some(({ topic, partition }) => (this.cluster.known(topic)?.[partition] ?? -1) >= 0);
  }

  private take(accumulator: Accumulator): Batch {
    this.sticky.left(accumulator.topic, accumulator.partition);
    return accumulator.take(this.settings.maxMessageBytes);
  }

  /** Resolves with what the broker said of each, nothing where it was not to answer. Rejects when that is unknown. */
  private async deliver(leader: number, batches: ReadonlyMap<Accumulator, Batch>): Promise<readonly Produced[]> {
    if (leader < 0) throw errorOfCode(LEADER_NOT_AVAILABLE);
    const link = await this.cluster.node(leader, 'produce');
    // A message that a leader only, or nobody, is to have kept may be stored twice.
    const sender = this.settings.producerRequiredAcks === 'all' ? await this.identity.get() : NOBODY;
    const parts: BatchFor[] = [];
    for (const [accumulator, batch] of batches) {
      const { topic, partition } = accumulator;
      batch.encoded ??= { sender, bytes: await this.encodeBatch(accumulator, batch, sender) };
      parts.push({ topic, partition, bytes: batch.encoded.bytes });
    }
    return produce(link, parts, ACKS[this.settings.producerRequiredAcks], REPLICATION_MS);
  }

  private encodeBatch(accumulator: Accumulator, { waiting }: Batch, sender: Sender): Promise<Buffer> {
    return encodeBatch(waiting, sender, accumulator.nextSequence(sender), CODECS[this.settings.compression]);
  }

  private settle(accumulator: Accumulator, batch: Batch, failure: Error | undefined): void {
    const code = (failure as Partial<ProtocolError> | undefined)?.code ?? 0;
    if (failure && code !== SENT_BEFORE && this.tryAgain(accumulator, batch, failure, code)) return;
    const isStored = !failure || code === SENT_BEFORE;
    accumulator.isBusy = false;
    if (isStored && batch.encoded) accumulator.stored(batch.waiting.length, batch.encoded.sender);
    // Its numbers may have been used or not: whoever went on with them could be mistaken for it.
    if (!isStored && batch.encoded) this.identity.forget();
    this.finish(batch.waiting, isStored ? undefined : failure);
  }

  /** Whether the batch goes once more, in parts or as it is. */
  private tryAgain(accumulator: Accumulator, batch: Batch, failure: Error, code: number): boolean {
    if (TOO_LARGE.includes(code) && batch.waiting.length > 1) {
      accumulator.isBusy = false;
      accumulator.putBack(...split(batch));
      return true;
    }
    if (!this.mayTryAgain(batch, failure)) return false;
    if (SENDER_LOST.includes(code)) {
      this.identity.forget();
      batch.encoded = undefined;
    }
    if (hasMoved(code) || code === 0) this.cluster.forget(accumulator.topic);
    accumulator.putBack(batch);
    setTimeout(() => this.release(accumulator), backoffMs(BACKOFF, ++batch.attempts));
    return true;
  }

  private release(accumulator: Accumulator): void {
    accumulator.isBusy = false;
    this.flushSoon();
  }

  private mayTryAgain({ attempts, waiting }: Batch, failure: Error): boolean {
    const { producerRetryMax, readTimeout } = this.settings;
    const { retriable, code = 0 } = failure as Partial<ProtocolError>;
    if (this.closed || (retriable === false && !SENDER_LOST.includes(code))) return false;
    return attempts < producerRetryMax && performance.now() - (waiting[0]?.since ?? 0) < readTimeout;
  }

  private finish(waiting: readonly Waiting[], failure?: Error): void {
    for (const { job, index, size } of waiting) {
      this.waitingBytes -= size;
      job.done(index, failure);
    }
  }
}

function failureOf(produced: readonly Produced[], { topic, partition }: Accumulator): Error | undefined {
  const found = produced.find((one) => one.partition === partition && one.topic === topic);
  return found && found.errorCode !== 0 ? errorOfCode(found.errorCode) : undefined;
}
