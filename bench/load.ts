/** The load generator: a process of its own, so that what it costs is not counted as the sidecar's. */

import { credentials } from '@grpc/grpc-js';
import { DaprClient } from '../gen/dapr/proto/runtime/v1/dapr.ts';
import { HttpConnection } from './http-connection.ts';
import { payload, quantile } from './payload.ts';
import { serve } from './worker.ts';

export interface Load {
  readonly protocol: 'http' | 'grpc';
  readonly port: number;
  readonly topic: string;
  /** Which run the messages belong to; goes into each. */
  readonly run: number;
  readonly messages: number;
  /** Bytes of a message. */
  readonly size: number;
  /** Messages in one request: above 1 it is a bulk publish. */
  readonly batch: number;
  /** Messages carry one of so many keys; 0 for none. */
  readonly keys: number;
  /** Requests in flight when `perSecond` is 0. */
  readonly inFlight: number;
  /** Requests started a second, whatever has been answered; 0 for as fast as `inFlight` allows. */
  readonly perSecond: number;
}

export interface Loaded {
  readonly seconds: number;
  /** From before the request to its whole answer. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Sends the messages from `seq` up in one request. Rejects unless all were taken. */
type Send = (seq: number, count: number) => Promise<void>;

/** What makes a message one of its key. */
const metadataOf = (seq: number, keys: number): Record<string, string> =>
  keys > 0 ? { partitionKey: `key-${seq % keys}` } : {};

function httpSender({ port, topic, run, size, batch, keys }: Load): { send: Send; close: () => void } {
  const idle: HttpConnection[] = [];
  const all: HttpConnection[] = [];
  const path = batch > 1 ? `/v1.0-alpha1/publish/bulk/pubsub/${topic}` : `/v1.0/publish/pubsub/${topic}`;
  const bodyOf = (seq: number, count: number): string => {
    if (batch === 1) return payload(run, seq, size);
    const entries = Array.from({ length: count }, (_, index) => {
      const event = payload(run, seq + index, size);
      const metadata = keys > 0 ? `,"metadata":${JSON.stringify(metadataOf(seq + index, keys))}` : '';
      return `{"entryId":"${index}","event":${event},"contentType":"application/json"${metadata}}`;
    });
    return `[${entries.join()}]`;
  };
  const open = (): HttpConnection => {
    const connection = new HttpConnection(port);
    all.push(connection);
    return connection;
  };
  const send = async (seq: number, count: number): Promise<void> => {
    const connection = idle.pop() ?? open();
    const query = batch === 1 && keys > 0 ? `?metadata.partitionKey=key-${seq % keys}` : '';
    const status = await connection.post(path + query, bodyOf(seq, count));
    if (status < 200 || status > 299) throw new Error(`the sidecar answered ${status}`);
    idle.push(connection);
  };
  return { send, close: () => all.forEach((connection) => connection.close()) };
}

function grpcSender({ port, topic, run, size, batch, keys }: Load): { send: Send; close: () => void } {
  const client = new DaprClient(`127.0.0.1:${port}`, credentials.createInsecure());
  const data = (seq: number): Buffer => Buffer.from(payload(run, seq, size), 'latin1');
  const about = { pubsubName: 'pubsub', topic, metadata: {} };
  const one = (seq: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const metadata = metadataOf(seq, keys);
      const request = { ...about, data: data(seq), dataContentType: 'application/json', metadata };
      client.publishEvent(request, (error) => (error ? reject(error) : resolve()));
    });
  const many = (seq: number, count: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const entries = Array.from({ length: count }, (_, index) => ({
        entryId: String(index),
        event: data(seq + index),
        contentType: 'application/json',
        metadata: metadataOf(seq + index, keys),
      }));
      client.bulkPublishEventAlpha1({ ...about, entries }, (error, response) => {
        if (error) return reject(error);
        const failed = response.failedEntries.length;
        return failed > 0 ? reject(new Error(`${failed} entries failed`)) : resolve();
      });
    });
  return { send: batch === 1 ? one : many, close: () => client.close() };
}

/** Runs `inFlight` senders until all messages are out. */
async function asFastAsPossible({ messages, batch, inFlight }: Load, send: Send, took: number[]): Promise<void> {
  let next = 0;
  const sender = async (): Promise<void> => {
    while (next < messages) {
      const seq = next;
      next += batch;
      const began = performance.now();
      await send(seq, Math.min(batch, messages - seq));
      took.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, sender));
}

/** Starts requests by the clock; one that is late is sent as soon as the timer comes round. */
async function paced({ messages, perSecond }: Load, send: Send, took: number[]): Promise<void> {
  const began = performance.now();
  const requests: Promise<void>[] = [];
  while (requests.length < messages) {
    const due = Math.min(messages, ((performance.now() - began) / 1000) * perSecond);
    while (requests.length < due) {
      const sent = performance.now();
      requests.push(send(requests.length, 1).then(() => void took.push(performance.now() - sent)));
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(requests);
}

serve(async (load: Load): Promise<Loaded> => {
  const { send, close } = load.protocol === 'http' ? httpSender(load) : grpcSender(load);
  const took: number[] = [];
  const began = performance.now();
  try {
    await (load.perSecond > 0 ? paced : asFastAsPossible)(load, send, took);
  } finally {
    close();
  }
  const seconds = (performance.now() - began) / 1000;
  took.sort((a, b) => a - b);
  return { seconds, p50Ms: quantile(took, 0.5), p99Ms: quantile(took, 0.99) };
});
