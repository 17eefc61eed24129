/**
 * The floor under a sidecar on Kafka: kafkajs alone, in a process of its own, doing with the same messages what the
 * sidecar does on behalf of apps.
 */

import { Kafka, logLevel, type Message } from 'kafkajs';
import { payload } from './payload.ts';
import { serve } from './worker.ts';

export interface FloorQuestion {
  readonly ask: 'publish' | 'deliver';
  readonly address: string;
  readonly topic: string;
  readonly messages: number;
  readonly size: number;
  /** Messages in one send. */
  readonly batch: number;
  /** Sends at a time. */
  readonly inFlight: number;
  /** Different keys; 0 for none. */
  readonly keys: number;
}

/** Of the second half of the messages; the first warms up. */
export interface FloorAnswer {
  readonly messages: number;
  readonly seconds: number;
  readonly cpuMs: number;
}

process.env['KAFKAJS_NO_PARTITIONER_WARNING'] = '1';

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

function stopwatch(messages: number): FloorAnswer & { readonly stop: () => FloorAnswer } {
  const [cpu, began] = [cpuMs(), performance.now()];
  const stop = (): FloorAnswer => ({ messages, seconds: (performance.now() - began) / 1000, cpuMs: cpuMs() - cpu });
  return { ...stop(), stop };
}

async function publish(kafka: Kafka, question: FloorQuestion): Promise<FloorAnswer> {
  const { topic, size, batch, inFlight, keys } = question;
  const producer = kafka.producer();
  await producer.connect();
  const message = (seq: number): Message => ({
    value: payload(1, seq, size),
    ...(keys > 0 && { key: `key-${seq % keys}` }),
  });
  const send = async (from: number, to: number): Promise<void> => {
    let next = from;
    const sender = async (): Promise<void> => {
      while (next < to) {
        const seq = next;
        next += batch;
        const count = Math.min(batch, to - seq);
        await producer.send({ topic, acks: -1, messages: Array.from({ length: count }, (_, at) => message(seq + at)) });
      }
    };
    await Promise.all(Array.from({ length: inFlight }, sender));
  };
  const half = Math.ceil(question.messages / 2);
  await send(0, half);
  const watch = stopwatch(question.messages - half);
  await send(half, question.messages);
  const answer = watch.stop();
  await producer.disconnect();
  return answer;
}

async function deliver(kafka: Kafka, { topic, messages }: FloorQuestion): Promise<FloorAnswer> {
  const consumer = kafka.consumer({ groupId: `floor-${process.pid}`, maxWaitTimeInMs: 500 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const half = Math.ceil(messages / 2);
  let count = 0;
  let watch: ReturnType<typeof stopwatch> | undefined;
  const answer = await new Promise<FloorAnswer>((resolve, reject) => {
    consumer
      .run({
        eachMessage: async () => {
          if (++count === half) watch = stopwatch(messages - half);
          if (count === messages && watch) resolve(watch.stop());
        },
      })
      .catch(reject);
  });
  await consumer.disconnect();
  return answer;
}

serve(async (question: FloorQuestion): Promise<FloorAnswer> => {
  const kafka = new Kafka({ brokers: [question.address], logLevel: logLevel.NOTHING });
  return question.ask === 'publish' ? publish(kafka, question) : deliver(kafka, question);
});
