import { createServer, type ListenOptions, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';

/** A server that takes connections and never says a word: what a process that hangs looks like. */
export interface SilentServer {
  readonly port: number;
  /** Connections that are open. */
  readonly open: number;
  /** Connections there ever were. */
  readonly met: number;
}

/** By default on a free port. */
export async function startSilentServer(
  t: ExecutionContext,
  place: ListenOptions = { host: '127.0.0.1', port: 0 },
): Promise<SilentServer> {
  const sockets = new Set<Socket>();
  let met = 0;
  const server = createServer((socket) => {
    met++;
    sockets.add(socket);
    socket.resume().on('error', () => undefined);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(place, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    get open() {
      return sockets.size;
    },
    get met() {
      return met;
    },
  };
}
