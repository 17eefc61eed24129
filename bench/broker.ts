/** The brokers a sidecar is measured with. */

import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createTopic, openKafka } from './kafka.ts';
import { freePort } from '../scripts/ports.ts';
import { until } from './until.ts';

/** A broker that runs, or that the sidecar will be. */
export interface RunningBroker {
  /** The component's `spec.type`. */
  readonly type: string;
  readonly settings: Readonly<Record<string, string>>;
  /** Of its process, where we started one. */
  readonly pid?: number;
  stop(): void;
  /** Makes the topic of a run, where that is not left to the sidecar. */
  createTopic?(topic: string): Promise<void>;
}

interface Kind {
  readonly about: string;
  /** Whether messages outlive the sidecar. */
  readonly durable: boolean;
  /** Messages carry one of so many keys. */
  readonly keys?: number;
  /** `folder` is the run's own; `kafka` is host:port of one that runs, or empty. */
  start(folder: string, kafka: string): Promise<RunningBroker>;
}

async function startRedis(folder: string): Promise<RunningBroker> {
  const port = await freePort();
  const flags = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  const server = spawn('redis-server', flags, { stdio: 'ignore', detached: true });
  let failure: Error | undefined;
  server.on('error', (error) => (failure = error));
  await until('redis-server', 5000, async () => {
    if (failure) throw failure;
    return accepts(port);
  });
  return {
    type: 'pubsub.redis',
    settings: { redisHost: `127.0.0.1:${port}`, redisPassword: '' },
    ...(server.pid !== undefined && { pid: server.pid }),
    stop: () => void server.kill('SIGKILL'),
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}

const stop = (): void => undefined;

const KEYS = 100;

function kafka(partitions: number, keys: number): Kind {
  return {
    about: `Apache Kafka, ${partitions === 1 ? 'one partition' : `${partitions} partitions`}, ${keys > 0 ? `${keys} keys` : 'no keys'}`,
    durable: true,
    keys,
    async start(_folder, running) {
      const { address, pid } = await openKafka(running);
      return {
        type: 'pubsub.kafka',
        settings: { brokers: address, authType: 'none', initialOffset: 'oldest', sessionTimeout: '6s' },
        ...(pid !== undefined && { pid }),
        stop,
        createTopic: (topic) => createTopic(address, topic, partitions),
      };
    },
  };
}

export const BROKERS = {
  memory: {
    about: 'in the sidecar, keeps nothing: what the sidecar itself costs',
    durable: false,
    start: async () => ({ type: 'pubsub.in-memory', settings: {}, stop }),
  },
  sqlite: {
    about: 'a file of its own on this disk',
    durable: true,
    start: async (folder) => ({
      type: 'pubsub.sqlite',
      settings: { connectionString: join(folder, 'bench.db') },
      stop,
    }),
  },
  redis: {
    about: 'a redis-server of its own, without persistence',
    durable: true,
    start: startRedis,
  },
  'kafka-1': kafka(1, 0),
  'kafka-1-keyed': kafka(1, KEYS),
  'kafka-8': kafka(8, 0),
  'kafka-8-keyed': kafka(8, KEYS),
} satisfies Record<string, Kind>;

export type BrokerName = keyof typeof BROKERS;

/** `kafka` stands for all of its kinds. */
export const isKafka = (name: string): boolean => name.startsWith('kafka-');
export const keysOf = (name: BrokerName): number => (BROKERS[name] as Kind).keys ?? 0;
