/** A sidecar process that can be killed, stopped and started again on its ports. */

import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { LogBook } from './log-book.ts';

const BINARY = fileURLToPath(new URL('../../bin/daprd', import.meta.url));
const START_MS = 60_000;

export interface SidecarPlan {
  readonly appId: string;
  readonly appPort: number;
  /** Its home; the resources are in `resources` in it. */
  readonly directory: string;
  readonly args: readonly string[];
}

export class Sidecar {
  readonly httpPort: number;
  log = new LogBook();
  private readonly plan: SidecarPlan;
  private readonly ports: readonly number[];
  private child: ChildProcess | undefined;
  private exited: Promise<number | string> = Promise.resolve('');

  private constructor(plan: SidecarPlan, ports: readonly number[]) {
    this.plan = plan;
    this.ports = ports;
    this.httpPort = ports[0] as number;
  }

  static async plan(plan: SidecarPlan): Promise<Sidecar> {
    return new Sidecar(plan, [await freePort(), await freePort(), await freePort(), await freePort()]);
  }

  get isRunning(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Resolves with the milliseconds until it is ready, its subscriptions included. */
  async start(): Promise<number> {
    const began = performance.now();
    this.launch();
    await this.ready();
    return performance.now() - began;
  }

  launch(): void {
    const { appId, appPort, directory, args } = this.plan;
    const [http, grpc, internal, metrics] = this.ports.map(String) as [string, string, string, string];
    const names = ['--app-id', appId, '--app-port', String(appPort), '--resources-path', `${directory}/resources`];
    const ports = ['--dapr-http-port', http, '--dapr-grpc-port', grpc, '--dapr-internal-grpc-port', internal];
    const child = spawn(BINARY, [...names, ...ports, '--metrics-port', metrics, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, HOME: directory },
    });
    const { log } = this;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => log.add(chunk));
    }
    this.child = child;
    this.exited = new Promise((resolve) => child.once('close', (code, signal) => resolve(code ?? signal ?? '')));
  }

  async ready(): Promise<void> {
    await until(
      async () => {
        if (!this.isRunning) throw new Error(`the sidecar ended with ${String(await this.exited)}`);
        const answer = await fetch(`http://127.0.0.1:${this.httpPort}/v1.0/healthz`).catch(() => undefined);
        return answer?.status === 204;
      },
      'the sidecar is ready',
      START_MS,
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Ends it without a chance to tidy up. */
  async kill(): Promise<void> {
    this.signal('SIGCONT');
    this.signal('SIGKILL');
    await this.exited;
  }

  /** Resolves with its exit code, or the name of the signal that ended it. */
  async stop(): Promise<number | string> {
    this.signal('SIGTERM');
    return this.exited;
  }

  /** Resident memory in MiB and open files, as the kernel counts them; zeros when it does not run. */
  usage(): { readonly residentMb: number; readonly files: number } {
    try {
      const status = readFileSync(`/proc/${this.child?.pid}/status`, 'utf8');
      const residentMb = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
      return { residentMb, files: readdirSync(`/proc/${this.child?.pid}/fd`).length };
    } catch {
      return { residentMb: 0, files: 0 };
    }
  }
}
