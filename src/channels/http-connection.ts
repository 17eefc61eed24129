/** One connection to the app over HTTP/1.1: one request at a time, written with one call. */

import { connect, type Socket } from 'node:net';
import { PROBE_AFTER_MS, type AppRequest, type Reply } from './app-client.ts';
import { ResponseReader } from './http-response.ts';

const CONNECT_TIMEOUT_MS = 10_000;
/** A connection rests so long, less where its server says so: servers close theirs after 5 s, and what is sent then is lost. */
const KEEP_ALIVE_MS = 4_000;
const KEEP_ALIVE_MARGIN_MS = 1_000;
/** A server that closes a connection which rested less did not do so because it rested. */
const TIRED_MS = 900;
/** Read into by one connection at a time, and done with before the next. */
const shared = Buffer.allocUnsafeSlow(64 * 1024);
const UNSAFE = /[\0\r\n]/;
/** Methods of which a request without a body says so. */
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH']);

/** A request with who waits for its answer. */
export interface Job {
  readonly request: AppRequest;
  readonly signal: AbortSignal;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

export class HttpConnection {
  /** In milliseconds of `performance.now()`. */
  restsUntil = 0;
  private readonly socket: Socket;
  private readonly host: string;
  private readonly maxBodyBytes: number;
  private readonly events: {
    readonly onFree: () => void;
    /** Nothing may be sent on it any more. */
    readonly onClose: () => void;
    /** It was closed instead of an answer, because it had rested: the request may be sent again. */
    readonly onTired: (job: Job) => void;
  };
  private readonly onAbort = (): void => this.destroy(this.job?.signal.reason as Error);
  private connecting: NodeJS.Timeout | undefined;
  private job: Job | undefined;
  private response: ResponseReader | undefined;
  /** Since when it rests. */
  private freeAt: number | undefined;
  private isTired = false;

  constructor(
    where: { readonly host: string; readonly port: number },
    host: string,
    maxBodyBytes: number,
    events: HttpConnection['events'],
  ) {
    this.host = host;
    this.maxBodyBytes = maxBodyBytes;
    this.events = events;
    const onread = { buffer: shared, callback: (size: number) => this.onBytes(shared.subarray(0, size)) };
    const probed = { keepAlive: true, keepAliveInitialDelay: PROBE_AFTER_MS };
    this.socket = connect({ ...where, ...probed, noDelay: true, onread });
    const late = (): void => this.destroy(new Error(`no connection to ${host} within ${CONNECT_TIMEOUT_MS / 1000} s`));
    this.connecting = setTimeout(late, CONNECT_TIMEOUT_MS);
    this.socket.once('connect', () => clearTimeout(this.connecting));
    this.socket.once('end', () => this.onEnd());
    this.socket.on('error', (error) => this.fail(error));
    this.socket.once('close', () => {
      clearTimeout(this.connecting);
      this.fail(new Error('other side closed'));
      events.onClose();
    });
  }

  run(job: Job): void {
    const { request, signal } = job;
    this.job = job;
    this.isTired = this.freeAt !== undefined && performance.now() - this.freeAt > TIRED_MS;
    this.response = new ResponseReader(this.maxBodyBytes, request.method === 'HEAD');
    signal.addEventListener('abort', this.onAbort, { once: true });
    try {
      this.socket.write(written(request, this.host));
    } catch (error) {
      this.settle()?.reject(error as Error);
      this.destroy();
    }
  }

  /** Ends the connection, which gets no request any more; one that it carries fails with `error`. */
  destroy(error?: Error): void {
    this.events.onClose();
    if (error) this.fail(error);
    this.socket.destroy();
  }

  private onBytes(bytes: Buffer): boolean {
    const { response } = this;
    if (!response) {
      this.destroy(); // nothing was asked
      return true;
    }
    this.isTired = false;
    try {
      const left = response.push(bytes);
      if (response.isDone) this.finish(response, left > 0);
    } catch (error) {
      this.destroy(error as Error);
    }
    return true;
  }

  private onEnd(): void {
    const { response } = this;
    this.events.onClose();
    if (!response) return;
    try {
      response.finish();
      this.finish(response, false);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  private finish(response: ResponseReader, tooMuch: boolean): void {
    const { status, headers, content: body } = response;
    const job = this.settle();
    const given = (response.keepsAliveMs ?? Infinity) - KEEP_ALIVE_MARGIN_MS;
    const isClean = !tooMuch && this.socket.writableLength === 0;
    const keeps = response.keepsAlive && given > 0 && isClean && !job?.request.reset;
    job?.resolve({ status, headers, body });
    if (!keeps) return this.destroy();
    this.freeAt = performance.now();
    this.restsUntil = this.freeAt + Math.min(KEEP_ALIVE_MS, given);
    this.events.onFree();
  }

  private fail(error: Error): void {
    const job = this.settle();
    if (job && this.isTired && job.request.repeatable && !job.signal.aborted) this.events.onTired(job);
    else job?.reject(error);
  }

  /** The job, which the connection is done with. */
  private settle(): Job | undefined {
    const { job } = this;
    job?.signal.removeEventListener('abort', this.onAbort);
    this.job = undefined;
    this.response = undefined;
    return job;
  }
}

/** The request as bytes. Throws where something in it would be more than one header. */
function written({ method, path, headers, body, reset }: AppRequest, host: string): Buffer {
  let head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: ${reset ? 'close' : 'keep-alive'}\r\n`;
  for (let i = 0; i < headers.length; i += 2) {
    const [name, value] = [headers[i] as string, headers[i + 1] as string];
    if (UNSAFE.test(name) || UNSAFE.test(value)) throw new Error(`the header ${JSON.stringify(name)} cannot be sent`);
    head += `${name}: ${value}\r\n`;
  }
  const length = body?.length ?? 0;
  head += length > 0 || WITH_BODY.has(method) ? `content-length: ${length}\r\n\r\n` : '\r\n';
  const bytes = Buffer.allocUnsafe(head.length + length);
  bytes.write(head, 'latin1');
  if (body) bytes.set(body, head.length);
  return bytes;
}
