/**
 * Unary gRPC calls over node:http2. The general client costs three times as much per call (measured: 150 against
 * 57 us); what an app's callback needs of gRPC fits here: one connection, framing, status, redial. A call that is passed
 * on as bytes begins and ends here, too.
 */

import {
  connect,
  constants,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  type IncomingHttpHeaders,
} from 'node:http2';
import type { Traffic } from '../core/traffic.ts';
import { PROBE_AFTER_MS } from './app-client.ts';
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
const HEADERS = [HTTP2_HEADER_METHOD, 'POST', HTTP2_HEADER_TE, 'trailers'];
const TYPE = ['content-type', 'application/grpc'];
const OK = 0;
const CANCELLED = 1;
const UNKNOWN = 2;
const UNIMPLEMENTED = 12;
const RESOURCE_EXHAUSTED = 8;
const INTERNAL = 13;
const UNAVAILABLE = 14;
const SWEEP_MS = 10_000;
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
  private sweeping: NodeJS.Timeout | undefined;
  private inHand = 0;
  private lastCall = 0;

  constructor(options: GrpcClientOptions) {
    this.options = options;
  }

  /**
   * Resolves with the response message's bytes. Rejects with GrpcCallError. A call that the app has not looked at,
   * because it was about to end its connection, goes out once more.
   */
  call(path: string, message: Uint8Array, metadata: CallMetadata, signal: AbortSignal, again = false): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new GrpcCallError(CANCELLED, 'the call was given up'));
      const stream = this.begin([HTTP2_HEADER_PATH, path, ...HEADERS, ...TYPE, ...metadata]);
      const { session } = this;
      const answer = new AnswerReader(stream, this.options.maxMessageBytes);
      const giveUp = (): void => stream.close(constants.NGHTTP2_CANCEL);
      signal.addEventListener('abort', giveUp, { once: true });
      const started = this.lastCall;
      const tell = (code: number): void => {
        const ms = performance.now() - started;
        this.options.onCall?.({ method: path, code, ms, sent: message.length, received: answer.bytes });
      };
      stream.once('close', () => {
        signal.removeEventListener('abort', giveUp);
        if (stream.rstCode === constants.NGHTTP2_REFUSED_STREAM && !again) {
          session?.close();
          return resolve(this.call(path, message, metadata, signal, true));
        }
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
    clearInterval(this.sweeping);
    this.session?.destroy();
  }

  /** A call whose bytes are somebody else's, and so is its `content-type`, among the metadata; `signal` resets it. */
  open(path: string, metadata: CallMetadata, signal: AbortSignal): ClientHttp2Stream {
    return this.begin([HTTP2_HEADER_PATH, path, ...HEADERS, ...metadata], { signal });
  }

  private begin(headers: readonly string[], options?: ClientSessionRequestOptions): ClientHttp2Stream {
    const stream = this.connection().request(headers, options);
    this.inHand++;
    this.lastCall = performance.now();
    stream.once('close', () => {
      letGo(stream);
      this.inHand--;
    });
    return stream;
  }

  private connection(): ClientHttp2Session {
    if (this.session && !this.session.closed && !this.session.destroyed) return this.session;
    const session = connect(this.options.authority, CONNECT);
    const dialTimer = setTimeout(() => session.destroy(new Error('connection timed out')), DIAL_TIMEOUT_MS);
    session.once('connect', (_, socket) => {
      clearTimeout(dialTimer);
      socket.setKeepAlive(true, PROBE_AFTER_MS);
    });
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
    this.sweeping ??= setInterval(() => this.sweep(), Math.min(SWEEP_MS, this.options.idleMs)).unref();
    return session;
  }

  /** Closes the connection when it has rested long enough. */
  private sweep(): void {
    if (this.inHand > 0 || this.session?.connecting) return;
    if (performance.now() - this.lastCall >= this.options.idleMs) this.session?.close();
  }
}

/** Hears how a call ends. */
export class CallEnd {
  /** The headers that its status came with; undefined before. */
  headers: IncomingHttpHeaders | undefined;
  error: GrpcCallError | undefined;
  private status = 0;

  constructor(stream: ClientHttp2Stream) {
    const read = (headers: IncomingHttpHeaders): void => {
      if (headers['grpc-status'] !== undefined) this.headers = headers;
    };
    stream.once('response', (headers) => {
      this.status = Number(headers[HTTP2_HEADER_STATUS]);
      read(headers);
    });
    stream.once('trailers', read);
    stream.on('error', (error) => (this.error ??= new GrpcCallError(UNAVAILABLE, error.message)));
  }

  /** Why it did not end well. */
  failure(): GrpcCallError | undefined {
    const { status, headers } = this;
    if (headers && headers['grpc-status'] !== '0') {
      const code = Number(headers['grpc-status']);
      return new GrpcCallError(
        Number.isInteger(code) ? code : UNKNOWN,
        unescaped(String(headers['grpc-message'] ?? '')),
      );
    }
    if (this.error) return this.error;
    if (status === 0 || (status === 200 && !headers))
      return new GrpcCallError(UNAVAILABLE, 'the connection was lost', status);
    if (status === 200) return undefined;
    return new GrpcCallError(status === 404 ? UNIMPLEMENTED : UNKNOWN, `HTTP status ${status}`, status);
  }
}

/** Collects what comes back on one stream and says what it was. */
class AnswerReader {
  private readonly chunks: Buffer[] = [];
  private size = 0;
  private readonly end: CallEnd;

  constructor(stream: ClientHttp2Stream, limit: number) {
    this.end = new CallEnd(stream);
    stream.on('data', (chunk: Buffer) => {
      this.size += chunk.length;
      if (limit > 0 && this.size > limit + PREFIX_BYTES) {
        this.end.error = new GrpcCallError(RESOURCE_EXHAUSTED, 'the answer of the app is too large');
        stream.close(constants.NGHTTP2_CANCEL);
      } else {
        this.chunks.push(chunk);
      }
    });
  }

  /** Of the message. */
  get bytes(): number {
    return Math.max(this.size - PREFIX_BYTES, 0);
  }

  /** The message. Throws GrpcCallError when there is none. */
  result(givenUp: boolean): Buffer {
    if (givenUp) throw new GrpcCallError(CANCELLED, 'the call was given up');
    const failure = this.end.failure();
    if (failure) throw failure;
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
