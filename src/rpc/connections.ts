/** The connections of a gRPC server: HTTP/2 without TLS, kept alive, closed when idle, each stream a call. */

import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import type { Connection, ConnectionLimit } from '../lib/connection-limit.ts';
import { calm, RateLimit, type Load } from './load.ts';

/** A connection that does not answer a ping is given up, one without calls closed. */
export interface KeepAlive {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  /** After so many pings without a call. */
  readonly idlePings: number;
}

/** Streams that a client may give up, together and all the time. Past that its connection ends. */
export interface Resets {
  readonly burst: number;
  readonly perSecond: number;
}

const AS_IN_DAPR: KeepAlive = { intervalMs: 10_000, timeoutMs: 5_000, idlePings: 18 };
/** All of them may be given up at once: a broker that hangs lets the deadlines of many publishes pass together. */
const MAX_STREAMS = 4096;
const RESETS: Resets = { burst: MAX_STREAMS, perSecond: 1000 };
/** Node ends a connection for resets with INTERNAL_ERROR: that is left to what it does not show as a stream. */
const MAX_HIDDEN_RESETS = 4 * MAX_STREAMS;
/** Requests of some hundred KiB come without waiting for the other side. */
export const STREAM_WINDOW_BYTES = 1 << 20;
const CONNECTION_WINDOW_BYTES = 4 << 20;
/** What one header field may be long is the limit of node:http2; how many there are is limited by their size. */
const MAX_HEADER_PAIRS = 10_000;

/** `rawHeaders`: names and values in turn, as they came. */
export type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]) => void;

export interface ConnectionsOptions {
  /** Of all headers of a call. */
  readonly maxHeaderBytes: number;
  /** Of all connections that take from the same memory. */
  readonly load: Load;
  readonly keepAlive?: KeepAlive;
  readonly resets?: Resets;
  /** Of all servers. */
  readonly limit: ConnectionLimit;
}

export class Connections {
  private readonly server: Http2Server;
  private readonly load: Load;
  private readonly limit: ConnectionLimit;
  private readonly keepAlive: KeepAlive;
  private readonly resets: Resets;
  private readonly open = new Map<ServerHttp2Session, Socket>();

  constructor(onStream: OnStream, options: ConnectionsOptions) {
    const { maxHeaderBytes, load, keepAlive = AS_IN_DAPR, resets = RESETS, limit } = options;
    this.limit = limit;
    this.load = load;
    this.keepAlive = keepAlive;
    this.resets = resets;
    this.server = createServer({
      maxSessionMemory: Number.MAX_SAFE_INTEGER,
      maxHeaderListPairs: MAX_HEADER_PAIRS,
      strictSingleValueFields: false, // what an app answers twice is passed on
      streamResetBurst: MAX_HIDDEN_RESETS,
      streamResetRate: MAX_HIDDEN_RESETS,
      settings: {
        maxConcurrentStreams: MAX_STREAMS,
        initialWindowSize: STREAM_WINDOW_BYTES,
        maxHeaderListSize: maxHeaderBytes,
      },
    } as Parameters<typeof createServer>[0]);
    let arrived: Socket; // a session hides its socket; it is made within the event of the connection
    this.server.prependListener('connection', (socket: Socket) => (arrived = socket));
    this.server.on('session', (session) => this.keep(session, arrived, onStream));
    this.server.on('sessionError', () => undefined); // what is no HTTP/2 is closed
  }

  /** Resolves with the port, 0 on a socket. */
  listen(where: ListenOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject).listen(where, () => {
        const bound = this.server.address() as AddressInfo | string;
        resolve(typeof bound === 'string' ? 0 : bound.port);
      });
    });
  }

  /** Refuses what is new; resolves when every call has ended. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const session of this.open.keys()) session.close();
    await closed;
  }

  /**
   * Ends every connection, by its socket: to clients a call that went with its connection is UNAVAILABLE, and they try it
   * again. A session would reset each call without an error, which is INTERNAL to them.
   */
  destroy(): void {
    for (const socket of this.open.values()) socket.destroy();
  }

  private keep(session: ServerHttp2Session, socket: Socket, onStream: OnStream): void {
    const { intervalMs, timeoutMs, idlePings: most } = this.keepAlive;
    const resets = new RateLimit(this.resets.burst, this.resets.perSecond);
    let calls = 0;
    let idlePings = 0;
    session.on('error', () => undefined); // its streams hear of it
    const connection: Connection = { isIdle: () => !this.load.has(session), end: () => session.destroy() };
    if (!this.limit.enter(connection)) return session.destroy();
    this.open.set(session, socket);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.on('stream', (stream: ServerHttp2Stream, headers, _flags, rawHeaders: readonly string[]) => {
      calls++;
      idlePings = 0;
      const bytes = this.load.begin(session, rawHeaders);
      stream.on('error', () => undefined); // it closes, too
      stream.once('close', () => {
        calls--;
        this.load.add(session, -bytes);
        if (stream.rstCode !== constants.NGHTTP2_NO_ERROR && !resets.take()) calm(session);
      });
      onStream(stream, headers, rawHeaders);
    });
    const pinging = setInterval(() => {
      if (calls === 0 && ++idlePings >= most) return void session.close();
      if (session.destroyed) return;
      const lost = setTimeout(() => socket.destroy(), timeoutMs).unref();
      session.ping(() => clearTimeout(lost));
    }, intervalMs).unref();
    session.once('close', () => {
      clearInterval(pinging);
      this.open.delete(session);
      this.limit.leave(connection);
    });
  }
}
