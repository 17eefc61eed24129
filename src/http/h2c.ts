/**
 * HTTP/2 without TLS (h2c) for connections of an HTTP/1.1 server: those that begin with HTTP/2's preface, and those
 * that ask for it by an upgrade. Node's server of HTTP/2 cannot do HTTP/1.1 without TLS, nor the upgrade.
 */

import type { IncomingMessage, RequestListener } from 'node:http';
import {
  constants,
  createServer,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { UpgradedConnection } from './upgraded-connection.ts';

export interface H2cOptions {
  readonly maxHeaderBytes: number;
  /** For a request to arrive whole, in milliseconds. */
  readonly requestTimeoutMs: number;
  /** For a connection on which nothing happens, in milliseconds. */
  readonly idleMs: number;
}

const MAX_STREAMS = 250;
const WINDOW_BYTES = 1 << 20;
/** For the last answers to leave a connection that is over. */
const LAST_WORDS_MS = 1000;
/** What no request of HTTP/1.1 begins with. */
const PREFACE = 'PRI ';

/** Calls `then` with whether the connection speaks HTTP/2, once its first bytes tell. They are still to be read then. */
export function sniff(socket: Socket, then: (isHttp2: boolean) => void): void {
  let read: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    read = read.length > 0 ? Buffer.concat([read, chunk]) : chunk;
    const begin = read.toString('latin1', 0, PREFACE.length);
    if (begin.length < PREFACE.length && PREFACE.startsWith(begin)) return;
    socket.off('data', onData).pause();
    socket.unshift(read);
    then(begin === PREFACE);
    // HTTP/2 takes what was read on the next tick, and only while the socket rests.
    if (begin === PREFACE) setImmediate(() => socket.resume());
    else socket.resume();
  };
  socket.on('data', onData);
}

/** Whether to answer an upgrade with 101. One that has a body is served as what it is, a request of HTTP/1.1. */
export function wantsH2c({ headers }: IncomingMessage): boolean {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
  return headers.upgrade?.toLowerCase() === 'h2c' && headers['http2-settings'] !== undefined && !hasBody;
}

interface Open {
  readonly connection: Duplex;
  /** Requests. */
  readonly inHand: Set<Http2ServerRequest>;
}

export class H2c {
  private readonly server: Http2Server;
  private readonly sessions = new Map<ServerHttp2Session, Open>();
  private readonly bySocket = new WeakMap<Duplex, ServerHttp2Session>();

  constructor(handler: RequestListener, { maxHeaderBytes, requestTimeoutMs, idleMs }: H2cOptions) {
    const settings = { maxConcurrentStreams: MAX_STREAMS, maxHeaderListSize: maxHeaderBytes };
    this.server = createServer({ settings: { ...settings, initialWindowSize: WINDOW_BYTES } }, (request, response) => {
      this.take(request, response, requestTimeoutMs);
      handler(request as unknown as IncomingMessage, response as never);
    });
    this.server.on('session', (session) => {
      session.on('error', () => undefined); // its streams hear of it
      session.setTimeout(idleMs, () => this.leave(session));
      session.once('close', () => this.sessions.delete(session));
    });
    this.server.on('sessionError', () => undefined);
  }

  /** Serves a connection that begins with the preface, and comes over `socket`. */
  serve(connection: Duplex, socket: Duplex): void {
    this.server.once('session', (session) => {
      this.sessions.set(session, { connection, inHand: new Set() });
      this.bySocket.set(socket, session);
      connection.once('end', () => this.ended(session));
    });
    this.server.emit('connection', connection);
  }

  /** Answers 101, and then the request as the first stream of HTTP/2. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n');
    this.serve(new UpgradedConnection(request, socket, head), socket);
  }

  /** Whether a request that came over the socket is in hand. */
  isBusy(socket: Duplex): boolean {
    const session = this.bySocket.get(socket);
    return session !== undefined && (this.sessions.get(session)?.inHand.size ?? 0) > 0;
  }

  /** Refuses new streams and ends each connection when its open ones are answered. */
  close(): void {
    for (const session of this.sessions.keys()) this.leave(session);
  }

  destroy(): void {
    for (const { connection } of this.sessions.values()) connection.destroy();
  }

  /** The client sends no more: what it began will not arrive, what is here is answered. */
  private ended(session: ServerHttp2Session): void {
    for (const { complete, stream } of this.sessions.get(session)?.inHand ?? []) {
      if (!complete) stream.close(constants.NGHTTP2_CANCEL);
    }
    this.leave(session);
  }

  /** A graceful close alone waits for frames that were begun, and for the client to say goodbye. */
  private leave(session: ServerHttp2Session): void {
    session.close();
    const open = this.sessions.get(session);
    if (open?.inHand.size === 0) setTimeout(() => open.connection.destroy(), LAST_WORDS_MS).unref();
  }

  /** A request has so long to arrive, and nobody reads what still comes once it is answered. */
  private take(request: Http2ServerRequest, response: Http2ServerResponse, ms: number): void {
    const session = request.stream.session as ServerHttp2Session | undefined;
    const inHand = session && this.sessions.get(session)?.inHand;
    inHand?.add(request);
    const late = setTimeout(() => {
      if (!request.complete) request.stream.close(constants.NGHTTP2_CANCEL);
    }, ms).unref();
    response.once('finish', () => {
      if (!request.complete) request.stream.close(constants.NGHTTP2_NO_ERROR);
    });
    response.once('close', () => {
      inHand?.delete(request);
      clearTimeout(late);
      if (session?.closed) this.leave(session);
    });
  }
}
