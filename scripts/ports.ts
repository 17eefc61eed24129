import { createServer } from 'node:net';

/** The port when it could be had on `host` (any free one for 0), undefined when somebody has it. */
function tryPort(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      // A machine without IPv6 has nobody on ::1 either.
      resolve(error.code === 'EADDRNOTAVAIL' ? port : undefined);
    });
    server.listen(port, host, () => {
      const { port: got } = server.address() as { port: number };
      server.close(() => resolve(got));
    });
  });
}

/** Whether nobody listens on the port of localhost, IPv4 or IPv6. */
export async function isFree(port: number): Promise<boolean> {
  return (await tryPort(port, '127.0.0.1')) !== undefined && (await tryPort(port, '::1')) !== undefined;
}

/** A port of 127.0.0.1 that was free a moment ago. */
export async function freePort(): Promise<number> {
  const port = await tryPort(0, '127.0.0.1');
  if (port === undefined) throw new Error('no free port on 127.0.0.1');
  return port;
}
