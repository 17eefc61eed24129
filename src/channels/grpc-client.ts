/**
 * Unary gRPC calls over node:http2. The general client costs three times as much per call (measured: 150 against
 * 57 us); what an app's callback needs of gRPC fits here: one connection, framing, status, redial.
 */

import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import type { Traffic } from '../core/traffic.ts';
import { framed, letGo, PREFIX_BYTES } from './framing.ts';
import { unescaped } from './grpc-headers.ts';

/** A call that did not end with OK. `code` is gRPC's; `httpStatus` is set where the answer was no gRPC at all. */
export class GrpcCallError extends Error {
  readonly code: number;
  readonly httpStatus: number;

  constructor(code: number, message: string, httpStatus = 200) {
    super(message);
    this.code = code;
    this.httpStatus = httpStatus;
  }
}

/** Flat list of header names and values. */
export type CallMetadata = readonly string[];

const { HTTP2_HEADER_METHOD, HTTP2_HEADER_PATH, HTTP2_HEADER_STATUS, HTTP2_HEADER_TE } = constants;
const HEADERS = [HTTP2_HEADER_METHOD, 'POST', HTTP2_HEADER_TE, 'trailers', 'content-type', 'application/grpc'];
const OK = 0;
const CANCELLED = 1;
const UNKNOWN = 2;
const UNIMPLEMENTED = 12;
const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const UNAVAILABLE = 14;
/** A connection that carries calls and does not answer for this long is given up. */
const PING_INTERVAL_MS = 10_000;
const DIAL_TIMEOUT_MS = 20_000;
/** What somebody's metadata names twice must not cost the call, so such names go out twice. */
const CONNECT = { rejectUnauthorized: false, strictSingleValueFields: false };

export interface GrpcClientOptions {
  /** `http://host:port` or `https://host:port`; certificates are not verified. */
  readonly authority: string;
  /** Longest message that is read; 0 or Infinity: any. */
  readonly maxMessageBytes: number;
  /** A connection without calls for about so long is closed. */
  readonly idleMs: number;
  /** Hears of every call that ended. Undefined where nobody counts. */
  readonly onCall: Traffic['grpcCalled'] | undefined;
}

export class GrpcClient {
  private readonly options: GrpcClientOptions;
  private session: ClientHttp2Session | undefined;
  private pinging: NodeJS.Timeout | undefined;
  private inHand = 0;
  private lastCall = 0;

  constructor(options: GrpcClientOptions) {
    this.options = options;
  }

  /** Resolves with the response message's bytes. Rejects with GrpcCallError. */
  call(path: string, message: Uint8Array, metadata: CallMetadata, signal: AbortSignal): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new GrpcCallError(CANCELLED, 'the call was given up'));
      const stream = this.open(path, metadata);
      const answer = new AnswerReader(stream, this.options.maxMessageBytes);
      const giveUp = (): void => stream.close(constants.NGHTTP2_CANCEL);
      signal.addEventListener('abort', giveUp, { once: true });
      this.inHand++;
      const started = (this.lastCall = performance.now());
      const tell = (code: number): void => {
        const ms = performance.now() - started;
        this.options.onCall?.({ method: path, code, ms, sent: message.length, received: answer.bytes });
      };
      stream.once('close', () => {
        letGo(stream);
        signal.removeEventListener('abort', giveUp);
        this.inHand--;
        try {
          const result = answer.result(signal.aborted);
          tell(OK);
          resolve(result);
        } catch (error) {
          tell((error as GrpcCallError).code);
          reject(error as Error);
        }
      });
      stream.end(framed([message]));
    });
  }

  /** Ends the connection and what is on it. */
  close(): void {
    clearInterval(this.pinging);
    this.session?.destroy();
  }

  private open(path: string, metadata: CallMetadata): ClientHttp2Stream {
    return this.connection().request([HTTP2_HEADER_PATH, path, ...HEADERS, ...metadata]);
  }

  private connection(): ClientHttp2Session {
    if (this.session && !this.session.closed && !this.session.destroyed) return this.session;
    const session = connect(this.options.authority, CONNECT);
    const dialTimer = setTimeout(() => session.destroy(new Error('connection timed out')), DIAL_TIMEOUT_MS);
    session.once('connect', () => clearTimeout(dialTimer));
    session.on('error', () => undefined); // every call on it hears of it
    const retire = (): void => {
      if (this.session === session) this.session = undefined;
    };
    session.once('goaway', retire);
    session.once('close', () => {
      clearTimeout(dialTimer);
      retire();
    });
    session.setMaxListeners(0);
    this.session = session;
    this.pinging ??= setInterval(() => this.ping(), Math.min(PING_INTERVAL_MS, this.options.idleMs)).unref();
    return session;
  }

  private ping(): void {
    const { session } = this;
    if (!session || session.connecting || session.destroyed) return;
    if (this.inHand === 0) {
      if (performance.now() - this.lastCall >= this.options.idleMs) session.close();
      return;
    }
    const lost = setTimeout(() => session.destroy(new Error('the app does not answer pings')), PING_INTERVAL_MS);
    session.ping(() => clearTimeout(lost));
  }
}

/** Collects what comes back on one stream and says what it was. */
class AnswerReader {
  private readonly chunks: Buffer[] = [];
  private size = 0;
  private status = 0;
  private grpcStatus: string | undefined;
  private grpcMessage = '';
  private error: GrpcCallError | undefined;

  constructor(stream: ClientHttp2Stream, limit: number) {
    const read = (headers: Record<string, string | string[] | undefined>): void => {
      this.grpcStatus = (headers['grpc-status'] as string | undefined) ?? this.grpcStatus;
      this.grpcMessage = (headers['grpc-message'] as string | undefined) ?? this.grpcMessage;
    };
    stream.once('response', (headers) => {
      this.status = Number(headers[HTTP2_HEADER_STATUS]);
      read(headers as Record<string, string>);
    });
    stream.once('trailers', (trailers) => read(trailers as Record<string, string>));
    stream.on('data', (chunk: Buffer) => {
      this.size += chunk.length;
      if (limit > 0 && this.size > limit + PREFIX_BYTES) {
        this.error = new GrpcCallError(RESOURCE_EXHAUSTED, 'the answer of the app is too large');
        stream.close(constants.NGHTTP2_CANCEL);
      } else {
        this.chunks.push(chunk);
      }
    });
    stream.on('error', (error) => (this.error ??= new GrpcCallError(UNAVAILABLE, error.message)));
  }

  /** Of the message. */
  get bytes(): number {
    return Math.max(this.size - PREFIX_BYTES, 0);
  }

  /** The message. Throws GrpcCallError when there is none. */
  result(givenUp: boolean): Buffer {
    if (givenUp) throw new GrpcCallError(CANCELLED, 'the call was given up');
    if (this.grpcStatus !== undefined && this.grpcStatus !== '0') {
      const code = Number(this.grpcStatus);
      throw new GrpcCallError(Number.isInteger(code) ? code : UNKNOWN, unescaped(this.grpcMessage));
    }
    if (this.error) throw this.error;
    if (this.status !== 200) {
      const code = this.status === 404 ? UNIMPLEMENTED : this.status === 0 ? UNAVAILABLE : UNKNOWN;
      throw new GrpcCallError(
        code,
        this.status === 0 ? 'the connection was lost' : `HTTP status ${this.status}`,
        this.status,
      );
    }
    if (this.grpcStatus === undefined) throw new GrpcCallError(UNAVAILABLE, 'the connection was lost');
    return unframe(Buffer.concat(this.chunks, this.size));
  }
}

/** The one message of an answer. OK without a whole one is no answer: an empty message would mean success. */
function unframe(bytes: Buffer): Buffer {
  if (bytes.length < PREFIX_BYTES || bytes.length !== PREFIX_BYTES + bytes.readUInt32BE(1)) {
    throw new GrpcCallError(INTERNAL, 'the app answered OK without a whole message');
  }
  if (bytes[0] !== 0)
    throw new GrpcCallError(INTERNAL, 'the answer of the app is compressed, which it was not asked for');
  return bytes.subarray(PREFIX_BYTES);
}
