/** Ports for processes that cannot choose their own, or that come back to the one they had. */

import { createServer } from 'node:net';

/** Below those that the system gives to clients, so that nobody has one by chance between two lives of a server. */
const [FIRST, PAST] = [12_000, 32_000];

let next = FIRST + Math.floor(Math.random() * (PAST - FIRST));

/** A port that nobody has, and that this process has not been given before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = next;
    next = port + 1 < PAST ? port + 1 : FIRST;
    if (await isFree(port)) return port;
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) found.push(await freePort());
  return found;
}

/** Whether nobody listens on the port of 127.0.0.1. */
export function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
