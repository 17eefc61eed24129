/**
 * Unary gRPC calls of the app, over HTTP/2 of our own (docs/decisions/0017): framing, status, redial. What an app's
 * callbacks need of gRPC fits here.
 */

import { GrpcCode } from '../core/errors.ts';
import type { Traffic } from '../core/traffic.ts';
import { hostAndPort } from '../lib/host-and-port.ts';
import { CallEnd, GrpcCallError } from './call-end.ts';
import { framed, PREFIX_BYTES } from './framing.ts';
import { Http2Connection, type Exchange, type ExchangeEnd, type Http2Where } from './http2-connection.ts';
import { ErrorCode } from './http2-frames.ts';

/** Connections that end before a call has left. */
const MAX_REDIALS = 5;

/** Flat list of header names and values. */
export type CallMetadata = readonly string[];

export interface GrpcClientOptions extends Http2Where {
  /** Longest message that is read; 0 or Infinity: any. */
  readonly maxMessageBytes: number;
  /** A connection without calls for so long is closed. */
  readonly idleMs: number;
  /** Hears of every call that ended. Undefined where nobody counts. */
  readonly onCall: Traffic['grpcCalled'] | undefined;
}

export class GrpcClient {
  private readonly options: GrpcClientOptions;
  private readonly connections = new Set<Http2Connection>();
  /** The one that takes calls. */
  private current: Http2Connection | undefined;
  /** Of each method, the headers that all its calls have. */
  private readonly lasting = new Map<string, readonly string[]>();

  constructor(options: GrpcClientOptions) {
    this.options = options;
  }

  /**
   * Resolves with the response message's bytes. Rejects with GrpcCallError. A call that the app has not looked at,
   * because it was about to end its connection, goes out once more; one that has not left has some connections more.
   */
  call(path: string, message: Uint8Array, metadata: CallMetadata, signal: AbortSignal): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const started = performance.now();
      const body = framed([message]);
      let [redials, repeats] = [MAX_REDIALS, 1];
      const finish = (call: UnaryCall, end: ExchangeEnd): void => {
        const answer = signal.aborted
          ? new GrpcCallError(GrpcCode.CANCELLED, 'the call was given up')
          : call.answer(end);
        const isError = answer instanceof GrpcCallError;
        const [code, received] = [isError ? answer.code : GrpcCode.OK, Math.max(call.size - PREFIX_BYTES, 0)];
        this.options.onCall?.({ method: path, code, ms: performance.now() - started, sent: message.length, received });
        if (isError) reject(answer);
        else resolve(answer);
      };
      const go = (): void => {
        const connection = this.connection();
        const call = new UnaryCall(this.lastingOf(path), metadata, body, this.options.maxMessageBytes);
        const giveUp = (): void => connection.cancel(call);
        call.onTooLong = giveUp;
        call.onEnd = (end) => {
          signal.removeEventListener('abort', giveUp);
          const isRefused = end.code === ErrorCode.REFUSED_STREAM && !signal.aborted;
          if (!isRefused || (end.unsent ? redials-- : repeats--) <= 0) return finish(call, end);
          connection.retire();
          go();
        };
        signal.addEventListener('abort', giveUp, { once: true });
        connection.run(call);
      };
      if (signal.aborted) reject(new GrpcCallError(GrpcCode.CANCELLED, 'the call was given up'));
      else go();
    });
  }

  /** Ends the connections and what is on them. */
  close(): void {
    for (const connection of this.connections) connection.destroy();
  }

  private lastingOf(path: string): readonly string[] {
    const known = this.lasting.get(path);
    if (known) return known;
    const { host, port, tls } = this.options;
    const pseudo = [
      ':method',
      'POST',
      ':scheme',
      tls ? 'https' : 'http',
      ':path',
      path,
      ':authority',
      hostAndPort(host, port),
    ];
    const lasting = [...pseudo, 'te', 'trailers', 'content-type', 'application/grpc'];
    this.lasting.set(path, lasting);
    return lasting;
  }

  private connection(): Http2Connection {
    if (this.current) return this.current;
    const connection = new Http2Connection(this.options, this.options.idleMs, {
      onRetired: () => {
        if (this.current === connection) this.current = undefined;
      },
      onClose: () => this.connections.delete(connection),
    });
    this.connections.add(connection);
    this.current = connection;
    return connection;
  }
}

/** One call on one connection. */
class UnaryCall implements Exchange {
  readonly lasting: readonly string[];
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** Of the answer, in bytes. */
  size = 0;
  onEnd: (end: ExchangeEnd) => void = () => undefined;
  /** More of an answer comes than may. */
  onTooLong: () => void = () => undefined;
  private readonly limit: number;
  /** The answer, and room for more of it. */
  private bytes = Buffer.alloc(0);
  private readonly end = new CallEnd();
  private isTooLong = false;

  constructor(lasting: readonly string[], headers: readonly string[], body: Uint8Array, maxMessageBytes: number) {
    this.lasting = lasting;
    this.headers = headers;
    this.body = body;
    this.limit = maxMessageBytes > 0 ? maxMessageBytes + PREFIX_BYTES : Infinity;
  }

  onHeaders(fields: readonly string[] | undefined): void {
    if (fields) this.end.read(fields);
    else this.refuse();
  }

  onData(piece: Buffer): void {
    const start = this.size;
    this.size += piece.length;
    if (this.size > this.limit) return this.refuse();
    if (this.size > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.size, 2 * this.bytes.length));
      this.bytes.copy(larger, 0, 0, start);
      this.bytes = larger;
    }
    piece.copy(this.bytes, start);
  }

  private refuse(): void {
    this.isTooLong = true;
    this.onTooLong();
  }

  /** The message, or why there is none. */
  answer({ code, lost }: ExchangeEnd): Buffer | GrpcCallError {
    if (this.isTooLong) return new GrpcCallError(GrpcCode.RESOURCE_EXHAUSTED, 'the answer of the app is too large');
    return this.end.failure(code, lost) ?? unframed(this.bytes.subarray(0, this.size));
  }
}

/** The one message of an answer. OK without a whole one is no answer: an empty message would mean success. */
function unframed(bytes: Buffer): Buffer | GrpcCallError {
  if (bytes.length < PREFIX_BYTES || bytes.length !== PREFIX_BYTES + bytes.readUInt32BE(1)) {
    return new GrpcCallError(GrpcCode.INTERNAL, 'the app answered OK without a whole message');
  }
  if (bytes[0] === 0) return bytes.subarray(PREFIX_BYTES);
  return new GrpcCallError(GrpcCode.INTERNAL, 'the answer of the app is compressed, which it was not asked for');
}
