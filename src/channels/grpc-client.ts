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
  type Http2Session,
  type IncomingHttpHeaders,
} from 'node:http2';
import { GrpcCode } from '../core/errors.ts';
import type { Traffic } from '../core/traffic.ts';
import { PROBE_AFTER_MS } from './app-client.ts';
import { framed, letGo, PREFIX_BYTES } from './framing.ts';
import { isGrpc, unescaped } from './grpc-headers.ts';

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
const {
  OK,
  CANCELLED,
  UNKNOWN,
  PERMISSION_DENIED,
  RESOURCE_EXHAUSTED,
  UNIMPLEMENTED,
  INTERNAL,
  UNAVAILABLE,
  UNAUTHENTICATED,
} = GrpcCode;
/** What gRPC takes an answer for that is none of its own, by its HTTP status. */
const CODE_OF_HTTP = new Map<number, number>([
  [400, INTERNAL],
  [401, UNAUTHENTICATED],
  [403, PERMISSION_DENIED],
  [404, UNIMPLEMENTED],
  [429, UNAVAILABLE],
  [502, UNAVAILABLE],
  [503, UNAVAILABLE],
  [504, UNAVAILABLE],
]);
/** And a reset; all others are INTERNAL. */
const CODE_OF_RESET = new Map<number, number>([
  [constants.NGHTTP2_REFUSED_STREAM, UNAVAILABLE],
  [constants.NGHTTP2_CANCEL, CANCELLED],
  [constants.NGHTTP2_ENHANCE_YOUR_CALM, RESOURCE_EXHAUSTED],
  [constants.NGHTTP2_INADEQUATE_SECURITY, PERMISSION_DENIED],
]);
const MAX_CODE = 16;
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
  /** The headers that its status came with, names and values in turn; undefined before. */
  headers: readonly string[] | undefined;
  /** The content type of an answer of gRPC; undefined where there is no such answer. */
  type: string | undefined;
  error: GrpcCallError | undefined;
  private readonly stream: ClientHttp2Stream;
  /** The stream forgets it when it closes. */
  private readonly session: Http2Session | undefined;
  private httpStatus = 0;
  private status: string | undefined;
  private message = '';

  constructor(stream: ClientHttp2Stream) {
    this.stream = stream;
    this.session = stream.session;
    const read = (headers: IncomingHttpHeaders, raw: readonly string[]): void => {
      if (headers['grpc-status'] === undefined) return;
      this.headers = raw;
      this.status = String(headers['grpc-status']);
      this.message = String(headers['grpc-message'] ?? '');
    };
    stream.once('response', (headers, _flags, raw: readonly string[]) => {
      this.httpStatus = Number(headers[HTTP2_HEADER_STATUS]);
      if (this.httpStatus === 200 && isGrpc(headers['content-type'])) this.type = headers['content-type'];
      read(headers, raw);
    });
    stream.once('trailers', (headers, _flags, raw) => read(headers, raw));
    stream.on('error', ({ message }) => (this.error ??= this.reset(message)));
  }

  /** Why it did not end well. */
  failure(): GrpcCallError | undefined {
    const { httpStatus, status } = this;
    if (status !== undefined && status !== '0') {
      const code = /^\d+$/.test(status) ? Number(status) : UNKNOWN;
      return new GrpcCallError(code > MAX_CODE ? UNKNOWN : code, unescaped(this.message));
    }
    if (this.error) return this.error;
    if (httpStatus !== 0 && httpStatus !== 200) {
      return new GrpcCallError(CODE_OF_HTTP.get(httpStatus) ?? UNKNOWN, `HTTP status ${httpStatus}`, httpStatus);
    }
    return status === undefined ? this.reset() : undefined;
  }

  /** The end of a stream that had no status. One that went with its connection looks like one that was cancelled. */
  private reset(message?: string): GrpcCallError {
    const { httpStatus, stream, session, type } = this;
    if (session?.destroyed !== false)
      return new GrpcCallError(UNAVAILABLE, message ?? 'the connection was lost', httpStatus);
    const code = stream.rstCode ?? 0;
    if (httpStatus === 200 && type === undefined) return new GrpcCallError(UNKNOWN, 'the answer is none of gRPC');
    const said = code === 0 ? 'the call ended without a status' : `the call was reset with code ${code}`;
    return new GrpcCallError(CODE_OF_RESET.get(code) ?? INTERNAL, said, httpStatus);
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
