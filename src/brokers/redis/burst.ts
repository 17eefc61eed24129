import { Command, type Redis } from 'ioredis';
import { concat } from '../../lib/bytes.ts';

/** Somebody who waits for the reply to one command. */
export interface Waiter {
  readonly name: string;
  readonly args: [];
  resolve(reply: unknown): void;
  reject(error: Error): void;
}

export const NO_ARGUMENTS: [] = [];

/** Written as soon as it has this much, so that a copy is never large. */
const FULL_BYTES = 256 * 1024;

/**
 * Commands of one turn of the event loop, encoded by hand and written at once. A command object of the client for
 * each, with its promises, costs more than everything else about a publish.
 */
export class Burst {
  private readonly client: Redis;
  private parts: (string | Uint8Array)[] = [];
  private waiters: Waiter[] = [];
  private bytes = 0;

  constructor(client: Redis) {
    this.client = client;
  }

  /** Adds one command, in pieces. */
  add(pieces: readonly (string | Uint8Array)[], waiter: Waiter): void {
    if (this.waiters.length === 0) setImmediate(() => this.flush());
    this.parts.push(...pieces);
    this.waiters.push(waiter);
    for (const piece of pieces) this.bytes += piece.length;
    if (this.bytes >= FULL_BYTES) this.flush();
  }

  /** Writes what there is now. */
  flush(): void {
    const [first, ...others] = this.waiters;
    if (!first) return;
    const command = new Encoded(first.name, concat(this.parts));
    [this.parts, this.waiters, this.bytes] = [[], [], 0];
    command.promise.then(
      (reply: unknown) => first.resolve(reply),
      (error: Error) => first.reject(error),
    );
    const { client } = this;
    void client.sendCommand(command);
    if (command.isSettled) void command.promise.catch((error: Error) => others.forEach((one) => one.reject(error)));
    else for (const one of others) client.commandQueue.push({ command: one, stream: client.stream, select: 0 });
  }
}

/** What the client takes for one command. Its reply is that of the first one in the bytes. */
class Encoded extends Command {
  private readonly bytes: Buffer;

  constructor(name: string, bytes: Buffer) {
    super(name);
    this.bytes = bytes;
  }

  override toWritable(): Buffer {
    return this.bytes;
  }
}

/** An argument as the protocol has it. */
export const bulkString = (text: string | number): string => `$${Buffer.byteLength(String(text))}\r\n${text}\r\n`;
