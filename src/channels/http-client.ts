/**
 * HTTP/1.1 to the app, without TLS: a request is one write, its answer is read from a buffer that all connections share.
 * The general client costs 28 us of processor time for each delivery, this one 17 (docs/decisions/0013).
 */

import { MAX_CONNECTIONS, type AppClient, type AppRequest, type Reply } from './app-client.ts';
import { hostAndPort } from '../lib/host-and-port.ts';
import { HttpConnection, type Job } from './http-connection.ts';

const SWEEP_MS = 500;

export interface HttpClientOptions {
  readonly address: string;
  readonly port: number;
  /** Longest body that is read; 0 or less: any. */
  readonly maxBodyBytes: number;
}

export class HttpClient implements AppClient {
  private readonly options: HttpClientOptions;
  private readonly host: string;
  private readonly connections = new Set<HttpConnection>();
  /** The one that was used last at the end. */
  private readonly idle: HttpConnection[] = [];
  private readonly waiting: Job[] = [];
  private sweeping: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(options: HttpClientOptions) {
    const { address, port } = options;
    this.options = options;
    this.host = hostAndPort(address, port);
  }

  /** Rejects where there is no answer: no connection, a broken one, no HTTP, too much of it, or `signal` aborted. */
  request(request: AppRequest, signal: AbortSignal): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (this.closed) return reject(new Error('the channel to the app is closed'));
      const job = { request, signal, resolve, reject };
      const connection = request.reset ? undefined : this.idle.pop();
      if (connection) connection.run(job);
      else if (this.connections.size < MAX_CONNECTIONS) this.open(job);
      else this.waiting.push(job);
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.sweeping);
    for (const { reject } of this.waiting.splice(0)) reject(new Error('the channel to the app is closed'));
    for (const connection of this.connections) connection.destroy(new Error('the channel to the app is closed'));
  }

  private open(job: Job): void {
    const { address, port, maxBodyBytes } = this.options;
    const socket = { host: address, port };
    const connection: HttpConnection = new HttpConnection(socket, this.host, maxBodyBytes, {
      onFree: () => this.reuse(connection),
      onClose: () => this.forget(connection),
      onTired: (again) => this.open(again),
    });
    this.connections.add(connection);
    connection.run(job);
  }

  private reuse(connection: HttpConnection): void {
    const next = this.nextJob();
    if (next) return connection.run(next);
    this.idle.push(connection);
    this.sweeping ??= setTimeout(() => this.sweep(), SWEEP_MS).unref();
  }

  private forget(connection: HttpConnection): void {
    if (!this.connections.delete(connection)) return;
    const at = this.idle.indexOf(connection);
    if (at >= 0) this.idle.splice(at, 1);
    const next = this.nextJob();
    if (next) this.open(next);
  }

  private nextJob(): Job | undefined {
    for (;;) {
      const job = this.waiting.shift();
      if (!job?.signal.aborted) return job;
      job.reject(job.signal.reason as Error);
    }
  }

  /** Ends those that have rested too long. */
  private sweep(): void {
    const now = performance.now();
    for (const connection of [...this.idle]) if (connection.restsUntil <= now) connection.destroy();
    this.sweeping = this.idle.length > 0 ? setTimeout(() => this.sweep(), SWEEP_MS).unref() : undefined;
  }
}
