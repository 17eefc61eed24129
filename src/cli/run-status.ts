/** What the sidecar reports while it starts, as lines for the user and as facts for `run`. */

import { writeFileSync } from 'node:fs';
import { messageOf } from '../core/errors.ts';
import type { Report } from '../lib/report.ts';
import { portsOfGroup } from './listeners.ts';
import type { RunOutput } from './run-output.ts';
import type { RunPlan } from './run-plan.ts';

export type ApiPorts = Extract<Report, { type: 'api' }>;
export type SidecarFailure = Extract<Report, { type: 'failed' }>;

/** While the app is waited for, a line this often. */
const REMIND_MS = 5000;

export class RunStatus {
  /** Resolves when the sidecar's ports are bound. */
  readonly api: Promise<ApiPorts>;
  /** Why the sidecar could not run. */
  failure: SidecarFailure | undefined;
  appListens = false;
  private readonly plan: RunPlan;
  private readonly output: RunOutput;
  private readonly started = performance.now();
  private gotApi: (ports: ApiPorts) => void = () => undefined;
  private ports: ApiPorts | undefined;
  private appPid = 0;
  /** A sidecar may be ready before it is known whether its app can be started at all. */
  private readonly missing = new Set(['sidecar', 'app']);
  private reminder: NodeJS.Timeout | undefined;

  constructor(plan: RunPlan, output: RunOutput) {
    this.plan = plan;
    this.output = output;
    this.api = new Promise((resolve) => {
      this.gotApi = resolve;
    });
  }

  readonly onReport = (report: Report): void => {
    if (report.type === 'components') this.components(report);
    else if (report.type === 'api') this.apiUp(report);
    else if (report.type === 'app') this.appUp(report.port);
    else if (report.type === 'subscribed') this.subscribed(report);
    else if (report.type === 'ready') this.there('sidecar');
    else if (report.type === 'failed') this.failure = report;
  };

  /** The app was started; 0 when somebody else does that. With a port it is now waited for. */
  appStarted(pid: number): void {
    this.appPid = pid;
    const { appPort, appChannelAddress } = this.plan.sidecar;
    if (appPort === 0 && pid > 0) this.line('app', `${this.command()}(pid ${pid})`, { pid });
    if (appPort > 0 && !this.appListens) this.remind(pid, appChannelAddress, appPort);
    this.there('app');
  }

  private remind(pid: number, host: string, port: number): void {
    const from = performance.now();
    const address = `${host}:${port}`;
    this.reminder = setInterval(() => {
      const seconds = Math.round((performance.now() - from) / 1000);
      const hint = whereInstead(port, pid > 0 ? portsOfGroup(pid) : []);
      this.output.status('waiting', `for the app to listen on ${address}, ${seconds} s${hint}`, {
        address,
        seconds,
      });
    }, REMIND_MS);
  }

  /** For scripts that wait for it. */
  ended(which: 'Dapr' | 'App'): void {
    if (this.plan.output.compat) process.stdout.write(`✅  Exited ${which} successfully\n`);
  }

  /** No more lines about waiting. */
  stop(): void {
    clearInterval(this.reminder);
  }

  private components({ loaded, skipped }: Extract<Report, { type: 'components' }>): void {
    const names = loaded.map(({ name, type, address }) => `${name} (${type}${address ? ` @ ${address}` : ''})`);
    const left = skipped > 0 ? `, ${skipped} skipped: the sidecar’s log says why` : '';
    this.line('components', `${names.join(', ') || 'none'}${left}`, { loaded, skipped });
  }

  private apiUp(ports: ApiPorts): void {
    this.ports = ports;
    const { listenAddresses, unixDomainSocket } = this.plan.sidecar;
    const host = listenAddresses[0] ?? '';
    const where = unixDomainSocket
      ? `sockets in ${unixDomainSocket}`
      : `http ${host}:${ports.httpPort}   grpc ${host}:${ports.grpcPort}`;
    const { httpPort, grpcPort, metricsPort } = ports;
    this.line('api', where, { httpPort, grpcPort, metricsPort });
    this.gotApi(ports);
  }

  private appUp(port: number): void {
    this.appListens = true;
    this.stop();
    const pid = this.appPid;
    this.line('app', `${this.command()}${pid > 0 ? `(pid ${pid}) ` : ''}listening on ${port}`, {
      port,
      ...(pid > 0 && { pid }),
    });
  }

  private subscribed({ subscriptions }: Extract<Report, { type: 'subscribed' }>): void {
    for (const { pubsub, topic, routes } of subscriptions) {
      this.line('subscribed', `${topic} -> ${routes.map((route) => route.replace(/^\/?/, '/')).join(', ')}`, {
        pubsub,
        topic,
        routes,
      });
    }
  }

  private there(which: 'sidecar' | 'app'): void {
    this.missing.delete(which);
    if (this.missing.size === 0) this.ready();
  }

  private ready(): void {
    this.line('ready', `Ctrl-C stops ${this.plan.app.length > 0 ? 'the app and ' : ''}the sidecar`);
    this.writeReadyFile();
    const both = this.plan.app.length > 0 ? 'Both Dapr and your app logs' : 'Dapr logs';
    if (this.plan.output.compat) process.stdout.write(`✅  You're up and running! ${both} will appear here.\n\n`);
  }

  private writeReadyFile(): void {
    const { readyFile, sidecar } = this.plan;
    if (readyFile === undefined) return;
    const { httpPort = 0, grpcPort = 0, metricsPort = 0 } = this.ports ?? {};
    const pids = { cliPid: process.pid, appPid: this.appPid };
    const facts = { v: 1, appId: sidecar.appId, httpPort, grpcPort, metricsPort, ...pids };
    try {
      writeFileSync(readyFile, `${JSON.stringify(facts)}\n`);
    } catch (error) {
      this.output.status('note', `the ready file cannot be written: ${messageOf(error)}`);
    }
  }

  private command(): string {
    const text = this.plan.app.join(' ');
    if (text === '') return '';
    return `${text.length > 60 ? `${text.slice(0, 57)}...` : text} `;
  }

  private line(step: string, text: string, facts: Readonly<Record<string, unknown>> = {}): void {
    const elapsedMs = Math.round(performance.now() - this.started);
    this.output.status(step, text, { ...facts, elapsedMs });
  }
}

/** What an app that is waited for at `port` does meanwhile: it listens on `ports`. */
function whereInstead(port: number, ports: readonly number[]): string {
  if (ports.length === 0) return '';
  if (!ports.includes(port)) return `; it listens on ${ports.join(', ')} instead: --app-port ${ports[0]}`;
  return `; it listens on ${port} at another address, perhaps ::1: --app-channel-address ::1`;
}
