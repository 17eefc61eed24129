/** A bad network: a TCP proxy in this process that cuts, swallows, loses, delays and slows down what goes through it. */

import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { AtEnd } from './redis.ts';

/** Towards the server, or from it. */
export type Direction = 'there' | 'back';

/** How the network behaves. What is left out is well. */
export interface Weather {
  /** Nobody can connect, and who is connected is cut off with a reset. */
  readonly down?: boolean;
  /** Bytes of these directions are held, and nothing ends: neither side hears of it. They go on when this changes. */
  readonly held?: readonly Direction[];
  /** Milliseconds that every byte takes longer, each way. */
  readonly delayMs?: number;
  /** Bytes a second that go through, each way of each connection. */
  readonly bytesPerSecond?: number;
  /** Part of the segments that are lost, from 0 to 1. TCP sends them again after a while, and what is behind waits. */
  readonly lost?: number;
}

/** When a lost segment is sent again; each time it is lost after twice as long. As in Linux. */
const RESEND_MS = 200;

export class Proxy {
  private readonly server: Server;
  private readonly target: number;
  private readonly sockets = new Set<Socket>();
  private weather: Weather = {};
  private turn = Promise.withResolvers<void>();

  private constructor(target: number) {
    this.target = target;
    this.server = createServer({ allowHalfOpen: true }, (client) => this.accept(client));
  }

  /** Leads to `target`, a port of 127.0.0.1. */
  static async start(atEnd: AtEnd, target: number): Promise<Proxy> {
    const proxy = new Proxy(target);
    await new Promise<void>((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    atEnd(() => proxy.close());
    return proxy;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** How many there are to the server. */
  get connections(): number {
    return Math.floor(this.sockets.size / 2);
  }

  become(weather: Weather): void {
    this.weather = weather;
    this.turn.resolve();
    this.turn = Promise.withResolvers();
    if (weather.down) this.cut();
  }

  /** Resets every connection there is. */
  cut(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    this.become({ down: true });
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(client: Socket): void {
    if (this.weather.down) return void client.resetAndDestroy();
    const server = connect({ port: this.target, host: '127.0.0.1', allowHalfOpen: true });
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        this.sockets.delete(socket);
        for (const other of [client, server]) other.destroy();
      });
    }
    void this.carry(client, server, 'there');
    void this.carry(server, client, 'back');
  }

  private async carry(from: Socket, to: Socket, direction: Direction): Promise<void> {
    try {
      for await (const chunk of from) {
        await this.pass(chunk as Buffer, direction);
        if (to.destroyed) return;
        if (!to.write(chunk as Buffer))
          await new Promise((resolve) => to.once('drain', resolve).once('close', resolve));
      }
      await this.pass(Buffer.alloc(0), direction);
      to.end();
    } catch {
      // One side has gone, and the other goes with it.
    }
  }

  /** Resolves when the chunk may go on. */
  private async pass({ length }: Buffer, direction: Direction): Promise<void> {
    const { delayMs = 0, bytesPerSecond = Infinity, lost = 0 } = this.weather;
    let ms = delayMs + (length * 1000) / bytesPerSecond;
    for (let again = RESEND_MS; Math.random() < lost; again *= 2) ms += again;
    if (ms > 0) await wait(ms);
    while (this.weather.held?.includes(direction)) await this.turn.promise;
  }
}
