/** HTTPS and HTTP/2 without TLS to the app, by the general client. */

import type { IncomingHttpHeaders } from 'node:http';
import { H2CClient, Pool, type Dispatcher } from 'undici';
import { hostAndPort } from '../lib/host-and-port.ts';
import { MAX_CONNECTIONS, type AppClient, type AppRequest, type Reply } from './app-client.ts';

const EMPTY = Buffer.alloc(0);

export interface UndiciClientOptions {
  readonly address: string;
  readonly port: number;
  /** The app's certificate is not verified: it is on this machine and usually self-signed. */
  readonly tls: boolean;
  /** Whether it speaks HTTP/2 without TLS from the first byte. */
  readonly http2: boolean;
  /** Longest body that is read; 0 or less: any. */
  readonly maxBodyBytes: number;
}

export class UndiciClient implements AppClient {
  private readonly pool: Pool;
  private readonly maxBodyBytes: number;

  constructor({ address, port, tls, http2, maxBodyBytes }: UndiciClientOptions) {
    this.maxBodyBytes = maxBodyBytes;
    this.pool = new Pool(`${tls ? 'https' : 'http'}://${hostAndPort(address, port)}`, {
      connections: MAX_CONNECTIONS,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { rejectUnauthorized: false },
      ...(http2 && { factory: (origin) => new H2CClient(origin, { headersTimeout: 0, bodyTimeout: 0 }) }),
    });
  }

  request({ method, path, headers, body, reset }: AppRequest, signal: AbortSignal): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const request = { method: method as Dispatcher.HttpMethod, path, headers: [...headers], body: body ?? null };
      const exchange = new Exchange(signal, this.maxBodyBytes, resolve, reject);
      this.pool.dispatch({ ...request, ...(reset && { reset }) }, exchange);
    });
  }

  async close(): Promise<void> {
    await this.pool.destroy();
  }
}

/** One request's handler: collects the reply. Leaner than the client's promises, which cost more than the request. */
class Exchange implements Dispatcher.DispatchHandler {
  private readonly signal: AbortSignal;
  private readonly limit: number;
  private readonly resolve: (reply: Reply) => void;
  private readonly reject: (error: Error) => void;
  private status = 0;
  private headers: IncomingHttpHeaders = {};
  private size = 0;
  private chunks: Buffer[] | undefined;
  private abort: (() => void) | undefined;

  constructor(signal: AbortSignal, limit: number, resolve: Exchange['resolve'], reject: Exchange['reject']) {
    this.signal = signal;
    this.limit = limit;
    this.resolve = resolve;
    this.reject = reject;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.abort = () => controller.abort(this.signal.reason as Error);
    if (this.signal.aborted) this.abort();
    else this.signal.addEventListener('abort', this.abort, { once: true });
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    this.status = status;
    this.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.size += chunk.length;
    if (this.limit > 0 && this.size > this.limit) controller.abort(new Error('the answer of the app is too large'));
    else (this.chunks ??= []).push(chunk);
  }

  onResponseEnd(): void {
    this.done();
    const { status, headers, chunks, size } = this;
    const flat = Object.entries(headers).flatMap(([name, value]) => [value ?? []].flat().flatMap((one) => [name, one]));
    this.resolve({ status, headers: flat, body: chunks === undefined ? EMPTY : Buffer.concat(chunks, size) });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.done();
    this.reject(error);
  }

  private done(): void {
    if (this.abort) this.signal.removeEventListener('abort', this.abort);
  }
}
