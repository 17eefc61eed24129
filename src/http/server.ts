/** Listening for HTTP: the same handler on every address, limits set, and a stop that idle connections cannot delay. */

import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import type { Connection, ConnectionLimit } from '../lib/connection-limit.ts';
import { listenOn, type PortChoice } from '../lib/listen.ts';
import { H2c, sniff, wantsH2c } from './h2c.ts';

export interface HttpServerOptions {
  readonly addresses: readonly string[];
  readonly port: PortChoice;
  /** Path of a Unix socket to listen on instead; empty: none. */
  readonly socket: string;
  readonly maxHeaderBytes: number;
  /** Whether HTTP/2 without TLS is served too. */
  readonly h2c?: boolean;
  /** Of all servers. */
  readonly limit: ConnectionLimit;
  /** Requests that a client may send on a connection ahead of their answers. Past that it ends. */
  readonly maxAhead?: number;
}

export interface HttpServer {
  /** The port that was bound, 0 on a socket. */
  readonly port: number;
  /** Refuses new connections, waits for the requests in hand until `deadline` aborts, then ends every connection. */
  close(deadline: AbortSignal): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 60_000;
const CHECK_INTERVAL_MS = 5_000;
const KEEP_ALIVE_MS = 180_000;
const MAX_AHEAD = 1000;

/** Listens; rejects when no address can be bound. */
export async function startHttpServer(handler: RequestListener, options: HttpServerOptions): Promise<HttpServer> {
  const listeners = new Map<string, Listener>();
  const open = async (name: string, where: ListenOptions): Promise<Listener> => {
    const listener = new Listener(handler, options);
    await listener.listen(where);
    listeners.set(name, listener);
    return listener;
  };
  const bind = async (host: string, port: number): Promise<number> => (await open(host, { host, port })).port;
  const release = async (host: string): Promise<void> => {
    await listeners.get(host)?.close(AbortSignal.abort());
    listeners.delete(host);
  };
  let port = 0;
  if (options.socket) await open(options.socket, { path: options.socket });
  else port = await listenOn(options.addresses, options.port, bind, release);
  return {
    port,
    close: async (deadline) => {
      await Promise.all([...listeners.values()].map((listener) => listener.close(deadline)));
    },
  };
}

/** One address. Knows which connections have a request in hand: only those are worth waiting for. */
class Listener {
  private readonly server: Server;
  /** Requests in hand by connection: a client may send one before the other is answered. */
  private readonly busy = new Map<Socket, number>();
  private readonly connections = new Set<Socket>();
  private readonly h2c: H2c | undefined;
  private closing = false;

  constructor(handler: RequestListener, options: HttpServerOptions) {
    const { maxHeaderBytes, h2c = false, limit, maxAhead = MAX_AHEAD } = options;
    const times = { requestTimeoutMs: REQUEST_TIMEOUT_MS, idleMs: KEEP_ALIVE_MS };
    this.h2c = h2c ? new H2c(handler, { maxHeaderBytes, ...times }) : undefined;
    this.server = createServer(
      {
        ...(h2c && { shouldUpgradeCallback: wantsH2c }),
        maxHeaderSize: maxHeaderBytes,
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: CHECK_INTERVAL_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        noDelay: true,
      },
      (request, response) => {
        const { socket } = request;
        const ahead = this.busy.get(socket) ?? 0;
        if (ahead >= maxAhead) return void socket.destroy();
        this.busy.set(socket, ahead + 1);
        response.once('close', () => this.idle(socket));
        handler(request, response);
      },
    );
    if (this.h2c) this.offer(this.h2c);
    this.server.on('connection', (socket) => {
      const connection: Connection = {
        isIdle: () => !this.busy.has(socket) && !this.h2c?.isBusy(socket),
        end: () => socket.destroy(),
      };
      if (!limit.enter(connection)) return void socket.destroy();
      this.connections.add(socket);
      socket.once('close', () => {
        this.connections.delete(socket);
        limit.leave(connection);
      });
    });
  }

  /** Looks at the first bytes of each connection before HTTP/1.1 gets it. */
  private offer(h2c: H2c): void {
    const [serveHttp1 = () => undefined] = this.server.listeners('connection') as ((socket: Socket) => void)[];
    this.server.removeAllListeners('connection');
    const onError = (): void => undefined;
    this.server.on('connection', (socket) => {
      socket.on('error', onError);
      socket.setTimeout(HEADERS_TIMEOUT_MS, () => socket.destroy());
      sniff(socket, (isHttp2) => {
        socket.off('error', onError).setTimeout(0).removeAllListeners('timeout');
        if (!isHttp2) return serveHttp1.call(this.server, socket);
        this.connections.delete(socket);
        h2c.serve(socket, socket);
      });
    });
    this.server.on('upgrade', (request, socket, head) => {
      this.connections.delete(socket as Socket);
      h2c.upgrade(request, socket, head);
    });
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  listen(where: ListenOptions): Promise<void> {
    return new Promise((resolve, reject) => this.server.once('error', reject).listen(where, resolve));
  }

  async close(deadline: AbortSignal): Promise<void> {
    this.closing = true;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.connections) if (!this.busy.has(socket)) socket.destroy();
    this.h2c?.close();
    const force = (): void => {
      this.connections.forEach((socket) => socket.destroy());
      this.h2c?.destroy();
    };
    if (deadline.aborted) force();
    else deadline.addEventListener('abort', force, { once: true });
    await closed;
  }

  private idle(socket: Socket): void {
    const left = (this.busy.get(socket) ?? 1) - 1;
    if (left > 0) return void this.busy.set(socket, left);
    this.busy.delete(socket);
    if (this.closing) socket.destroySoon();
  }
}
