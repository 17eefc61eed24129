/** One run's surroundings: a folder, a broker, the sidecar under test, the load generator and the app. */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../scripts/ports.ts';
import type { AppAnswer, AppQuestion } from './app.ts';
import { BROKERS, keysOf, type BrokerName, type RunningBroker } from './broker.ts';
import type { FloorAnswer, FloorQuestion } from './kafkajs.ts';
import type { Load, Loaded } from './load.ts';
import type { Binary, Options } from './options.ts';
import { until } from './until.ts';
import { groupUsage, type Usage } from './usage.ts';
import { Worker } from './worker.ts';

/** How the app takes events. */
export type AppKind = 'http' | 'grpc' | 'stream';

/** A sidecar that cannot be had, for any scenario. The message ends with the last lines of its log. */
export class NotStarted extends Error {}

const LAST_LINES = 10;

/** What is open, so that an interrupted bench leaves nothing behind. */
const open = new Set<Stage>();

export async function closeAll(): Promise<void> {
  await Promise.all([...open].map((stage) => stage.close()));
}

export class Stage {
  readonly options: Options;
  private readonly binary: Binary;
  private readonly broker: RunningBroker;
  private readonly keys: number;
  private readonly folder: string;
  private readonly topic = `bench-${process.pid}-${Date.now()}`;
  private readonly load = new Worker<Load, Loaded>('load.ts');
  private readonly app = new Worker<AppQuestion, AppAnswer>('app.ts');
  private sidecar: ChildProcess | undefined;
  private ports = { http: 0, grpc: 0 };

  private get logFile(): string {
    return join(this.folder, 'sidecar.log');
  }

  private constructor(binary: Binary, broker: RunningBroker, keys: number, folder: string, options: Options) {
    this.keys = keys;
    this.binary = binary;
    this.broker = broker;
    this.folder = folder;
    this.options = options;
    open.add(this);
  }

  static async open(binary: Binary, brokerName: BrokerName, options: Options): Promise<Stage> {
    const folder = mkdtempSync(join(tmpdir(), 'bench-'));
    const broker: RunningBroker = await BROKERS[brokerName].start(folder, options.kafka);
    const stage = new Stage(binary, broker, keysOf(brokerName), folder, options);
    stage.writeComponent();
    await broker.createTopic?.(stage.topic);
    return stage;
  }

  /** The sidecar's process group. */
  get group(): number {
    return this.sidecar?.pid ?? 0;
  }

  private writeComponent(): void {
    const { type, settings } = this.broker;
    const metadata = Object.entries(settings).map(([name, value]) => ({ name, value }));
    const spec = { type, version: 'v1', metadata };
    const document = { apiVersion: 'dapr.io/v1alpha1', kind: 'Component', metadata: { name: 'pubsub' }, spec };
    mkdirSync(join(this.folder, 'resources'));
    writeFileSync(join(this.folder, 'resources', 'pubsub.yaml'), JSON.stringify(document)); // JSON is YAML
  }

  /** Resolves with the milliseconds from the start of the process to the first 204 of the readiness endpoint. */
  async startSidecar(app: { port: number; protocol: string } | undefined = undefined): Promise<number> {
    this.ports = { http: await freePort(), grpc: await freePort() };
    const flags: Record<string, string | number> = {
      'app-id': 'bench',
      'resources-path': join(this.folder, 'resources'),
      'dapr-http-port': this.ports.http,
      'dapr-grpc-port': this.ports.grpc,
      'dapr-internal-grpc-port': await freePort(),
      'metrics-port': await freePort(),
      'dapr-listen-addresses': '127.0.0.1',
      'log-level': 'warn',
      ...(app && { 'app-port': app.port, 'app-protocol': app.protocol }),
    };
    const log = this.options.verbose ? 2 : openSync(this.logFile, 'w');
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const began = performance.now();
    this.sidecar = spawn(this.binary.path, args, {
      detached: true, // a process group of its own: its CPU is added up over the group
      stdio: ['ignore', log, log],
      env: { ...process.env, HOME: this.folder, DAPR_HOST_IP: '127.0.0.1' },
    });
    if (log !== 2) closeSync(log);
    let died: string | undefined;
    this.sidecar.on('error', (error) => (died = error.message));
    this.sidecar.on('exit', (code, signal) => (died = `it ended with ${code ?? signal}`));
    await until(this.binary.path, 20_000, async () => {
      if (died !== undefined) throw new Error(`${this.binary.path}: ${died}`);
      return isReady(this.ports.http);
    }).catch((error: Error) => {
      throw new NotStarted(`${error.message}${this.lastWords()}`);
    });
    return performance.now() - began;
  }

  private lastWords(): string {
    if (this.options.verbose) return '';
    const lines = readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-LAST_LINES);
    return lines.map((line) => `\n    ${line}`).join('');
  }

  /** By SIGKILL, as nothing else ends every sidecar at once. Resolves when it has gone. */
  async stopSidecar(): Promise<void> {
    const { sidecar } = this;
    this.sidecar = undefined;
    if (sidecar?.pid === undefined || sidecar.exitCode !== null || sidecar.signalCode !== null) return;
    sidecar.removeAllListeners('exit');
    const gone = new Promise((resolve) => sidecar.once('exit', resolve));
    process.kill(-sidecar.pid, 'SIGKILL');
    await gone;
  }

  /** Starts the app, and the sidecar beside it. */
  async startWithApp(app: AppKind): Promise<void> {
    if (app === 'stream') {
      await this.startSidecar();
      await this.app.ask({ ask: 'stream', port: this.ports.grpc, topic: this.topic });
    } else {
      const { port } = await this.app.ask({ ask: 'listen', protocol: app, topic: this.topic });
      await this.startSidecar({ port, protocol: app });
    }
  }

  /** Publishes; what `wanted` leaves out is one run of the options, as fast as possible. */
  publish(protocol: 'http' | 'grpc', run: number, wanted: Partial<Load> = {}): Promise<Loaded> {
    const { options: { messages, size, inFlight }, keys } = this; // prettier-ignore
    const port = this.ports[protocol];
    const standard = { protocol, port, topic: this.topic, run, messages, size, inFlight, keys, batch: 1, perSecond: 0 };
    return this.load.ask({ ...standard, ...wanted });
  }

  /** Resolves when the app has `count` different messages of the run. */
  arrived(run: number, count: number, timeoutMs = 60_000): Promise<AppAnswer> {
    return this.app.ask({ ask: 'arrived', run, count, timeoutMs });
  }

  /** What kafkajs alone takes for the same messages. */
  async floor(ask: FloorQuestion['ask'], batch: number): Promise<FloorAnswer> {
    const { messages, size, inFlight } = this.options;
    const { topic, keys, broker } = this;
    const worker = new Worker<FloorQuestion, FloorAnswer>('kafkajs.ts');
    try {
      return await worker.ask({
        ask,
        address: broker.settings['brokers'] ?? '',
        topic,
        messages,
        size,
        batch,
        inFlight,
        keys,
      });
    } finally {
      worker.stop();
    }
  }

  usage(): Usage & { readonly brokerCpuMs: number } {
    const brokerCpuMs = this.broker.pid === undefined ? 0 : groupUsage(this.broker.pid).cpuMs;
    return { ...groupUsage(this.group), brokerCpuMs };
  }

  async close(): Promise<void> {
    open.delete(this);
    this.load.stop();
    this.app.stop();
    await this.stopSidecar();
    this.broker.stop();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

function isReady(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const where = { host: '127.0.0.1', port, path: '/v1.0/healthz/outbound', agent: false, timeout: 1000 };
    const request = get(where, (response) => {
      response.resume();
      resolve(response.statusCode === 204);
    });
    request.on('error', () => resolve(false));
    request.on('timeout', () => request.destroy());
  });
}
