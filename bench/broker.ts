/** The brokers a sidecar is measured with. */

import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { join } from 'node:path';
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
}

interface Kind {
  readonly about: string;
  /** Whether messages outlive the sidecar. */
  readonly durable: boolean;
  /** `folder` is the run's own. */
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
  kafka: {
    about: 'one that runs already, see --kafka',
    durable: true,
    start: async (_folder, kafka) => ({
      type: 'pubsub.kafka',
      settings: { brokers: kafka, authType: 'none', initialOffset: 'oldest' },
      stop,
    }),
  },
} satisfies Record<string, Kind>;

export type BrokerName = keyof typeof BROKERS;
