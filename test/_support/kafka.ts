/** A real Kafka broker: one process in KRaft mode, on free ports, in a directory of its own. */

import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync, mkdtempSync, openSync, closeSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { kafkaJars } from '../../scripts/needs.ts';
import { endProcess } from './end-process.ts';
import { freePort, freePorts } from './ports.ts';
import type { AtEnd } from './redis.ts';
import { until } from './until.ts';

const START_MS = 120_000;
/** One gigabyte for a broker would be its default; two run at once in CI. */
const JVM = ['-Xmx400m', '-Xms128m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto'];

export interface KafkaOptions {
  /** Lines of server.properties, in place of those below. */
  readonly properties?: Readonly<Record<string, string>>;
  /** Further listeners: their names and security protocols. */
  readonly listeners?: Readonly<Record<string, 'PLAINTEXT' | 'SSL' | 'SASL_PLAINTEXT' | 'SASL_SSL'>>;
  /** Users of SCRAM that are there from the start, as `kafka-storage --add-scram` wants them. */
  readonly scram?: readonly string[];
  /** Folders with further classes. */
  readonly classes?: readonly string[];
}

/** Who a broker is among those of its cluster, by number from 1 on: the ports where all controllers listen. */
interface Seat {
  readonly id: number;
  readonly controllerPorts: readonly number[];
}

/** One broker that can be killed, stopped and started again on its port, with its data. */
export class KafkaServer {
  readonly port: number;
  readonly directory: string;
  private readonly options: KafkaOptions;
  private readonly seat: Seat;
  /** Of the further listeners. */
  private readonly ports = new Map<string, number>();
  private child: ChildProcess | undefined;

  private constructor(port: number, seat: Seat, options: KafkaOptions) {
    this.port = port;
    this.seat = seat;
    this.options = options;
    this.directory = mkdtempSync(join(tmpdir(), 'kafka-test-'));
  }

  /** Starts one and ends it with the test. */
  static async start(atEnd: AtEnd, options: KafkaOptions = {}): Promise<KafkaServer> {
    const [server] = await KafkaServer.startCluster(atEnd, 1, options);
    return server as KafkaServer;
  }

  /** Starts several of one cluster; each is broker and controller. */
  static async startCluster(atEnd: AtEnd, count: number, options: KafkaOptions = {}): Promise<KafkaServer[]> {
    const controllerPorts = await freePorts(count);
    const servers: KafkaServer[] = [];
    for (const [index, port] of (await freePorts(count)).entries()) {
      const server = new KafkaServer(port, { id: index + 1, controllerPorts }, options);
      atEnd(() => server.end());
      for (const name of Object.keys(options.listeners ?? {})) server.ports.set(name, await freePort());
      servers.push(server);
    }
    await Promise.all(servers.map((server) => server.format()));
    await Promise.all(servers.map((server) => server.start()));
    return servers;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get pid(): number | undefined {
    return this.child?.pid;
  }

  /** Where one of the further listeners is. */
  addressOf(listener: string): string {
    return `127.0.0.1:${this.ports.get(listener)}`;
  }

  /** The same server again, after it was killed. */
  async start(): Promise<void> {
    this.child = this.java('server.log', 'kafka.Kafka', [join(this.directory, 'server.properties')]);
    await until(() => this.answers(), `kafka on port ${this.port} answers`, START_MS);
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }

  /** Ends it without a chance to tidy up. */
  async kill(): Promise<void> {
    await endProcess(this.child);
  }

  /** An independent client. */
  client(): Kafka {
    return new Kafka({
      brokers: [this.address],
      clientId: 'test',
      logLevel: logLevel.NOTHING,
    });
  }

  async createTopic(topic: string, numPartitions: number): Promise<void> {
    const admin = this.client().admin();
    await admin.connect();
    // Its own way to wait for leaders fails where the topic is not known to the broker yet.
    await admin.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1 }], waitForLeaders: false });
    await until(
      () =>
        admin.fetchTopicMetadata({ topics: [topic] }).then(
          ({ topics }) => topics[0]?.partitions.filter(({ leader }) => leader >= 0).length === numPartitions,
          () => false,
        ),
      `topic ${topic} is there`,
    );
    await admin.disconnect();
  }

  private async format(): Promise<void> {
    const { id, controllerPorts } = this.seat;
    const properties = {
      'process.roles': 'broker,controller',
      'node.id': String(id),
      'controller.quorum.voters': controllerPorts.map((port, index) => `${index + 1}@127.0.0.1:${port}`).join(),
      listeners: [
        `PLAINTEXT://${this.address},CONTROLLER://127.0.0.1:${controllerPorts[id - 1]}`,
        ...[...this.ports.keys()].map((name) => `${name}://${this.addressOf(name)}`),
      ].join(),
      'listener.security.protocol.map': Object.entries({
        PLAINTEXT: 'PLAINTEXT',
        CONTROLLER: 'PLAINTEXT',
        ...this.options.listeners,
      })
        .map(([name, protocol]) => `${name}:${protocol}`)
        .join(),
      'inter.broker.listener.name': 'PLAINTEXT',
      'controller.listener.names': 'CONTROLLER',
      'log.dirs': join(this.directory, 'data'),
      'offsets.topic.replication.factor': '1',
      'offsets.topic.num.partitions': '3',
      'transaction.state.log.replication.factor': '1',
      'transaction.state.log.min.isr': '1',
      'group.initial.rebalance.delay.ms': '0',
      'group.min.session.timeout.ms': '1000',
      'message.max.bytes': '8388608',
      'log.cleaner.enable': 'false',
      // A broker that was killed is one again as soon as it is back.
      'broker.session.timeout.ms': '1500',
      'broker.heartbeat.interval.ms': '300',
      ...this.options.properties,
    };
    const text = Object.entries(properties).map(([name, value]) => `${name}=${value.replaceAll('\n', '\\\n')}\n`);
    const file = join(this.directory, 'server.properties');
    writeFileSync(file, text.join('').replaceAll('{port}', String(this.port)));
    const users = (this.options.scram ?? []).flatMap((user) => ['--add-scram', user]);
    const cluster = 'MkU3OEVBNTcwNTJENDM2Qg';
    const child = this.java('format.log', 'kafka.tools.StorageTool', ['format', '-t', cluster, '-c', file, ...users]);
    const code = await new Promise((resolve) => child.once('exit', resolve));
    if (code !== 0) throw new Error(`formatting failed:\n${readFileSync(join(this.directory, 'format.log'), 'utf8')}`);
  }

  private java(log: string, main: string, args: readonly string[]): ChildProcess {
    const out = openSync(join(this.directory, log), 'a');
    // A process group of its own: the bench adds up its CPU, and a Ctrl-C is ours to handle.
    const classPath = [join(kafkaJars, '*'), ...(this.options.classes ?? [])].join(':');
    const own = `-Djava.io.tmpdir=${this.directory}`;
    const child = spawn('java', [...JVM, own, '-cp', classPath, main, ...args], {
      stdio: ['ignore', out, out],
      detached: true,
      cwd: this.directory,
    });
    closeSync(out);
    return child;
  }

  private async answers(): Promise<boolean> {
    if (this.child?.exitCode != null) {
      throw new Error(`kafka ended:\n${readFileSync(join(this.directory, 'server.log'), 'utf8').slice(-4000)}`);
    }
    const admin = new Kafka({
      brokers: [this.address],
      logLevel: logLevel.NOTHING,
      retry: { retries: 0 },
      connectionTimeout: 1000,
    }).admin();
    try {
      await admin.connect();
      const { brokers } = await admin.describeCluster();
      return brokers.length > 0;
    } catch {
      return false;
    } finally {
      await admin.disconnect().catch(() => undefined);
    }
  }

  private async end(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
