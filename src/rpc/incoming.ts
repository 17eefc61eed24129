/**
 * What a client sends on a call: cut into messages, inflated one behind the other, and counted by the budget while it is
 * not whole or in hand.
 */

import type { ServerHttp2Stream } from 'node:http2';
import { promisify } from 'node:util';
import { gunzip, inflate } from 'node:zlib';
import { MessageReader, MessageTooLong } from '../channels/framing.ts';
import { GrpcCode, messageOf } from '../core/errors.ts';
import type { MemoryBudget, Waiting } from '../lib/memory-budget.ts';

/** What a method does with what its client sends. */
export interface CallReader {
  /** What it throws says why the bytes are none of its messages, and ends the call. */
  message(bytes: Buffer): void;
  /** The client sends no more. */
  end(): void;
}

/** What a call may be of. */
export interface CallLimits {
  /** Of one message, either way; Infinity: any. */
  readonly maxMessageBytes: number;
  readonly budget: MemoryBudget;
}

/** Ends the call, with a status and more trailers, for what its client sent. */
export type OnFault = (code: number, details: string, trailers?: Readonly<Record<string, string>>) => void;

const INFLATE = new Map([
  ['gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
]);
/** What a client whose encoding is not read is told. */
const IDENTITY = 'identity';
const ENCODINGS = { 'grpc-accept-encoding': [IDENTITY, ...INFLATE.keys()].join(',') };
const OVER_BUDGET = 'requests and answers that wait take all the memory that there is for them';

export class Incoming implements Waiting {
  private readonly stream: ServerHttp2Stream;
  private readonly encoding: string;
  private readonly limits: CallLimits;
  private readonly onFault: OnFault;
  /** Messages are inflated one behind the other; undefined while none was compressed. */
  private inflating: Promise<void> | undefined;
  private isOver = false;
  /** Bytes that the budget counts. */
  private kept = 0;
  /** Of these, those of a message that is not whole. */
  private begun = 0;

  /** `encoding` of its compressed messages. `onFault` makes the call end, and with it this. */
  constructor(stream: ServerHttp2Stream, encoding: string | undefined, limits: CallLimits, onFault: OnFault) {
    this.stream = stream;
    this.encoding = encoding ?? IDENTITY;
    this.limits = limits;
    this.onFault = onFault;
  }

  /** Begins to read. Nothing is lost of what came before. */
  read(reader: CallReader): void {
    const messages = new MessageReader(this.limits.maxMessageBytes, (bytes, compressed) => {
      this.count(0);
      if (compressed || this.inflating) this.enqueue(bytes, compressed, reader);
      else this.hand(bytes, reader);
    });
    this.stream.on('data', (piece: Buffer) => {
      if (this.isOver) return;
      try {
        messages.push(piece);
      } catch (error) {
        return this.fail(error);
      }
      this.count(messages.begun);
    });
    this.stream.once('end', () => {
      const finish = (): void => {
        if (this.isOver) return;
        if (messages.begun > 0) this.onFault(GrpcCode.INTERNAL, 'the request ends within a message');
        else reader.end();
      };
      if (this.inflating) this.inflating.then(finish, () => undefined);
      else finish();
    });
  }

  /** Counts bytes of requests, or fewer of them, until the call ends. False: there is no room, and it has ended. */
  keep(bytes: number): boolean {
    if (this.isOver) return false;
    this.kept += bytes;
    const fits = this.limits.budget.keep(bytes);
    if (!fits) this.giveUp();
    return fits;
  }

  giveUp(): void {
    this.onFault(GrpcCode.RESOURCE_EXHAUSTED, OVER_BUDGET);
  }

  /** The call has ended: nothing is handed over any more, and nothing counted. */
  end(): void {
    this.isOver = true;
    this.limits.budget.keep(-this.kept);
    if (this.begun > 0) this.limits.budget.forget(this);
  }

  /** Counts what there is of a message that is not whole. */
  private count(begun: number): void {
    const more = begun - this.begun;
    if (more === 0 || this.isOver) return;
    this.begun = begun;
    if (begun > 0) this.limits.budget.await(this);
    else this.limits.budget.forget(this);
    this.keep(more);
  }

  private enqueue(bytes: Buffer, compressed: boolean, reader: CallReader): void {
    if (!this.keep(bytes.length)) return;
    const before = this.inflating ?? Promise.resolve();
    this.inflating = before.then(async () => {
      if (this.isOver) return;
      const message = compressed ? await this.inflate(bytes) : bytes;
      this.keep(-bytes.length);
      this.hand(message, reader);
    });
    this.inflating.catch((error: unknown) => this.fail(error));
  }

  private hand(bytes: Buffer, reader: CallReader): void {
    if (this.isOver) return;
    try {
      reader.message(bytes);
    } catch (error) {
      this.onFault(GrpcCode.INTERNAL, `error unmarshalling request: ${messageOf(error)}`);
    }
  }

  private async inflate(bytes: Buffer): Promise<Buffer> {
    const { encoding } = this;
    if (encoding === IDENTITY) throw new Error('a message is compressed in no encoding');
    const inflateBytes = INFLATE.get(encoding);
    if (!inflateBytes) throw new UnknownEncoding(`messages in the encoding "${encoding}" are not read`);
    const max = this.limits.maxMessageBytes;
    return inflateBytes(bytes, max === Infinity ? {} : { maxOutputLength: Math.max(1, max) });
  }

  private fail(error: unknown): void {
    const { code = undefined } = error as { code?: string };
    const tooLong = error instanceof MessageTooLong || code === 'ERR_BUFFER_TOO_LARGE';
    if (error instanceof UnknownEncoding) this.onFault(GrpcCode.UNIMPLEMENTED, error.message, ENCODINGS);
    else this.onFault(tooLong ? GrpcCode.RESOURCE_EXHAUSTED : GrpcCode.INTERNAL, messageOf(error));
  }
}

class UnknownEncoding extends Error {}
