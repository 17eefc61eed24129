/** A way to a broker on which requests may have to wait, or the connection breaks. */

import { connect, createServer, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';

/** Requests, by their number in Kafka's protocol. */
export const LIST_OFFSETS = 2;
export const METADATA = 3;
export const OFFSET_COMMIT = 8;
export const OFFSET_FETCH = 9;
export const JOIN_GROUP = 11;

/** What becomes of a request: it passes at once, or when that resolves, or takes the connection with it. */
export type Keeper = (api: number) => 'cut' | Promise<unknown> | undefined;

/** Listens on `port`, which the broker at `target` advertises, until the test ends. */
export async function openGate(t: ExecutionContext, port: number, target: string, keeper: Keeper): Promise<void> {
  const server = createServer((client: Socket) => {
    const [host = '', brokerPort] = target.split(':');
    const broker = connect(Number(brokerPort), host);
    let before: Promise<unknown> = Promise.resolve();
    client.on('data', (chunk: Buffer) => {
      // Clients write a request at a time.
      const verdict = keeper(chunk.length > 6 ? chunk.readInt16BE(4) : -1);
      if (verdict === 'cut') return client.resetAndDestroy();
      before = before.then(() => verdict).then(() => broker.write(chunk));
    });
    broker.on('data', (chunk: Buffer) => client.write(chunk));
    for (const socket of [client, broker]) {
      socket.on('error', () => undefined).on('close', () => (client.destroy(), broker.destroy()));
    }
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
}
