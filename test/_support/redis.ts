/** Real redis-server processes: alone, as a cluster, behind Sentinels, with TLS. On free ports, in directories of their own. */

import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { ConnectionOptions } from 'node:tls';
import { Redis } from 'ioredis';
import { endProcess } from './end-process.ts';
import { freePort } from './ports.ts';
import { until } from './until.ts';

/** Takes what ends a thing: a test's `t.teardown`, or what a file calls after its tests. */
export type AtEnd = (end: () => Promise<void>) => void;

/** How a client of the test gets in. */
export interface Login {
  readonly username?: string;
  readonly password?: string;
  readonly tls?: ConnectionOptions;
}

const START_MS = 60_000;

/** One redis-server that can be killed, stopped and started again on its port, with its data. */
export class RedisServer {
  readonly port: number;
  readonly directory: string;
  readonly args: string[];
  private readonly login: Login;
  private child: ChildProcess | undefined;
  private readonly clients: Redis[] = [];

  private constructor(port: number, args: readonly string[], login: Login) {
    this.port = port;
    this.args = [...args];
    this.login = login;
    this.directory = mkdtempSync(join(tmpdir(), 'redis-test-'));
  }

  /** Starts one and ends it with the test. `args` are those of redis-server; `login` is how to ask it something. */
  static async start(atEnd: AtEnd, args: readonly string[] = [], login: Login = {}): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), args, login);
    atEnd(() => server.end());
    await server.start();
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** The same server again, after it was killed. */
  async start(): Promise<void> {
    this.launch();
    await until(() => this.answers(), `redis on port ${this.port} answers`, START_MS);
  }

  /** Starts it without waiting until it can be used. */
  launch(): void {
    const place = ['--bind', '127.0.0.1', '--dir', this.directory, '--save', ''];
    const port = this.args.includes('--tls-port') ? [] : ['--port', String(this.port)];
    const args = [...this.args, ...port, ...place].map((arg) => arg.replace('{port}', String(this.port)));
    this.child = spawn('redis-server', args, { stdio: 'ignore' });
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }

  /** Ends it without a chance to tidy up. */
  async kill(): Promise<void> {
    await endProcess(this.child);
  }

  /** A client of the test's own, which ends with the server. */
  client(): Redis {
    const plain = { protocol: 2, enableReadyCheck: false, retryStrategy: () => null } as const;
    const client = new Redis({ ...this.login, ...plain, port: this.port, host: '127.0.0.1' });
    client.on('error', () => undefined);
    this.clients.push(client);
    return client;
  }

  /** Sends one command. */
  async ask(command: string, ...args: (string | number)[]): Promise<unknown> {
    const client = this.client();
    try {
      return await client.call(command, args);
    } finally {
      client.disconnect();
      this.clients.splice(this.clients.indexOf(client), 1);
    }
  }

  private async answers(): Promise<boolean> {
    if (this.child?.exitCode != null) throw new Error(`redis-server ended with ${this.child.exitCode}`);
    return this.ask('ping').then(
      () => true,
      () => false,
    );
  }

  private async end(): Promise<void> {
    for (const client of this.clients) client.disconnect();
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Kept on the disk before it is acknowledged. */
export const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/** How many connections somebody tries to make to the port of a server that is not there, which are refused. */
export async function connectionsTo(port: number, ms: number): Promise<number> {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await wait(ms);
  await new Promise((resolve) => server.close(resolve));
  return connections;
}

const SLOTS = 16_384;

/** How soon a group of servers gives up a member: for tests that kill one, and for those that want none to go. */
const SOON_MS = 1000;
export const NOT_SOON_MS = 60_000;

/** A cluster of three masters, each with a third of the slots. */
export async function startCluster(
  atEnd: AtEnd,
  patienceMs = SOON_MS,
): Promise<[RedisServer, RedisServer, RedisServer]> {
  const timeout = ['--cluster-node-timeout', String(patienceMs)];
  const args = ['--cluster-enabled', 'yes', ...timeout, '--cluster-require-full-coverage', 'no'];
  const start = async (): Promise<RedisServer> =>
    RedisServer.start(atEnd, [...args, '--cluster-port', String(await freePort())]);
  const servers = await Promise.all([start(), start(), start()]);
  const [first] = servers;
  for (const [index, server] of servers.entries()) {
    const from = Math.ceil((SLOTS * index) / 3);
    await server.ask('cluster', 'SET-CONFIG-EPOCH', index + 1);
    await server.ask('cluster', 'ADDSLOTSRANGE', from, Math.ceil((SLOTS * (index + 1)) / 3) - 1);
    await first.ask('cluster', 'MEET', '127.0.0.1', server.port, server.args.at(-1) as string);
  }
  for (const server of servers) {
    await until(async () => {
      const info = String(await server.ask('cluster', 'INFO'));
      return /cluster_state:ok/.test(info) && /cluster_slots_ok:16384/.test(info);
    }, 'the cluster agrees');
  }
  return servers;
}

/** Replicas of it need not wait for company. */
const welcomeReplicas = (master: RedisServer): Promise<unknown> =>
  master.ask('config', 'SET', 'repl-diskless-sync-delay', 0);

/** Adds a replica of a cluster's `master`, which all `servers` of the cluster know when this resolves. */
export async function startClusterReplica(
  atEnd: AtEnd,
  servers: readonly RedisServer[],
  master: RedisServer,
): Promise<RedisServer> {
  await welcomeReplicas(master);
  const port = String(await freePort());
  const replica = await RedisServer.start(atEnd, [...master.args.slice(0, -1), port]);
  await replica.ask('cluster', 'MEET', '127.0.0.1', master.port, master.args.at(-1) as string);
  const id = String(await master.ask('cluster', 'MYID'));
  const replicate = (): Promise<unknown> => replica.ask('cluster', 'REPLICATE', id);
  await until(() => replicate().then(() => true, () => false), 'it knows its master'); // prettier-ignore
  await until(() => follows(replica, master), 'it follows');
  const known = new RegExp(`^${String(await replica.ask('cluster', 'MYID'))} .* slave ${id} `, 'm');
  for (const server of servers) {
    await until(async () => known.test(String(await server.ask('cluster', 'NODES'))), 'it is known');
  }
  return replica;
}

/** Adds a replica of `master`, which follows it when this resolves. */
export async function startReplica(atEnd: AtEnd, master: RedisServer): Promise<RedisServer> {
  await welcomeReplicas(master);
  const replica = await RedisServer.start(atEnd, ['--replicaof', '127.0.0.1', String(master.port)]);
  await until(() => follows(replica, master), 'it follows');
  return replica;
}

/** Whether the master counts on the replica. */
async function follows(replica: RedisServer, master: RedisServer): Promise<boolean> {
  const followers = String(await master.ask('info', 'replication'));
  return new RegExp(`^slave.*port=${replica.port},state=online,`, 'm').test(followers);
}

export interface SentinelGroup {
  readonly master: RedisServer;
  readonly replica: RedisServer;
  /** Addresses of the Sentinels, as in `redisHost`. */
  readonly sentinels: string;
  readonly name: string;
}

/** A master, its replica, and three Sentinels who replace the master within a few seconds. */
export async function startSentinels(atEnd: AtEnd, patienceMs = SOON_MS): Promise<SentinelGroup> {
  const name = 'mymaster';
  const master = await RedisServer.start(atEnd);
  const replica = await startReplica(atEnd, master);
  const sentinels = await Promise.all([0, 1, 2].map(() => startSentinel(atEnd, master, name, patienceMs)));
  await until(async () => {
    const known = await Promise.all(sentinels.map((one) => one.ask('sentinel', 'SENTINELS', name)));
    return known.every((others) => (others as unknown[]).length === 2);
  }, 'the Sentinels know each other');
  return { master, replica, name, sentinels: sentinels.map(({ address }) => address).join(',') };
}

async function startSentinel(
  atEnd: AtEnd,
  master: RedisServer,
  name: string,
  patienceMs: number,
): Promise<RedisServer> {
  const directory = mkdtempSync(join(tmpdir(), 'sentinel-test-'));
  atEnd(async () => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'sentinel.conf');
  writeFileSync(
    file,
    [
      `sentinel monitor ${name} 127.0.0.1 ${master.port} 2`,
      `sentinel down-after-milliseconds ${name} ${patienceMs}`,
      `sentinel failover-timeout ${name} 3000`,
      '',
    ].join('\n'),
  );
  return RedisServer.start(atEnd, [file, '--sentinel']);
}

/** Certificates of an authority of the test's own, for 127.0.0.1. Paths of PEM files by name. */
export function makeCertificates(atEnd: AtEnd): (name: 'ca.pem' | 'server.pem' | 'client.pem' | 'key.pem') => string {
  const directory = mkdtempSync(join(tmpdir(), 'certificates-'));
  atEnd(async () => rmSync(directory, { recursive: true, force: true }));
  const path = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'ignore', cwd: directory });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test authority', '-days', '2');
  openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-out', 'key.pem');
  writeFileSync(path('names'), 'subjectAltName=IP:127.0.0.1');
  for (const name of ['server', 'client']) {
    openssl('req', '-new', '-key', 'key.pem', '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...signed);
  }
  return path;
}
