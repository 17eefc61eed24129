/**
 * A call as the server sees it, over one stream of node:http2: messages in and out, headers, status, deadline,
 * cancellation. What a method writes within one turn of the event loop leaves in one write.
 */

import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { gunzip, inflate } from 'node:zlib';
import { promisify } from 'node:util';
import { framed, letGo, MessageReader, MessageTooLong } from '../channels/framing.ts';
import { GrpcCode, messageOf } from '../core/errors.ts';
import type { MemoryBudget, Waiting } from '../lib/memory-budget.ts';
import { MAX_TIMER_MS } from '../lib/deadline.ts';

export interface CallStatus {
  readonly code: number;
  readonly details: string;
  /** More trailers: header names and values. */
  readonly trailers?: Readonly<Record<string, string>>;
}

/** What a method does with what its client sends. */
export interface CallReader {
  /** What it throws says why the bytes are none of its messages, and ends the call. */
  message(bytes: Buffer): void;
  /** The client sends no more. */
  end(): void;
}

const { HTTP2_HEADER_STATUS, HTTP2_HEADER_CONTENT_TYPE, NGHTTP2_NO_ERROR, NGHTTP2_ENHANCE_YOUR_CALM } = constants;
export const OK: CallStatus = { code: GrpcCode.OK, details: '' };
/** Names and values as they go on the wire: cheaper than an object, of which node:http2 makes another. */
const HEADERS = [HTTP2_HEADER_STATUS, '200', HTTP2_HEADER_CONTENT_TYPE, 'application/grpc'];
/** The list stays as it is without a date, which gRPC has no use for. */
const AND_TRAILERS = { waitForTrailers: true, sendDate: false };
const ONLY_TRAILERS = { endStream: true, sendDate: false };
const INFLATE = new Map([
  ['gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
]);
/** What a client whose encoding is not read is told. */
const IDENTITY = 'identity';
const ENCODINGS = { 'grpc-accept-encoding': [IDENTITY, ...INFLATE.keys()].join(',') };
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
/** Answers up to here are not counted: what calls there may be bounds them. */
const SMALL_BYTES = 1024;
const OVER_BUDGET = 'requests and answers that wait take all the memory that there is for them';
const NOT_PRINTABLE = /[^ -~]|%/gu;

/** What a call may be of. */
export interface CallLimits {
  /** Of one message, either way; Infinity: any. */
  readonly maxMessageBytes: number;
  readonly budget: MemoryBudget;
}

export class ServerCall implements Waiting {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  private readonly stream: ServerHttp2Stream;
  private readonly limits: CallLimits;
  private readonly deadline: NodeJS.Timeout | undefined;
  private outgoing: Uint8Array[] = [];
  private onGone: (() => void)[] = [];
  /** Messages are inflated one behind the other; undefined while none was compressed. */
  private inflating: Promise<void> | undefined;
  private ended = false;
  /** Whether the client sends no more. */
  private isHalfClosed = false;
  private code: number = GrpcCode.OK;
  /** Bytes that the budget counts for this call: of requests, and of what the client has still to read. */
  private received = 0;
  private unread = 0;
  /** Of the received, those of a message that is not whole. */
  private begun = 0;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, limits: CallLimits) {
    this.stream = stream;
    this.headers = headers;
    this.path = headers[':path'] ?? '';
    this.limits = limits;
    stream.once('close', () => this.close());
    const timeout = headers['grpc-timeout'];
    this.deadline = timeout === undefined ? undefined : this.endAfter(String(timeout));
  }

  /** Of a name that comes more than once, all of them with commas. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value.join(', ') : value;
  }

  /** Calls back once if the call ends before its method ends it: cancelled, its client gone, its time over, nonsense sent. */
  onCancelled(listener: () => void): void {
    this.onGone.push(listener);
  }

  /** Calls back once when nothing more will be sent or come, with the status that the call ended with. */
  onClose(listener: (code: number) => void): void {
    this.stream.once('close', () => listener(this.code));
  }

  /** Begins to read. Nothing is lost of what came before. */
  read(reader: CallReader): void {
    const messages = new MessageReader(this.limits.maxMessageBytes, (bytes, compressed) => {
      this.count(0);
      if (!compressed && !this.inflating) return this.hand(bytes, reader);
      if (!this.keep(bytes.length)) return;
      const before = this.inflating ?? Promise.resolve();
      this.inflating = before.then(async () => {
        if (this.ended) return;
        const message = compressed ? await this.inflate(bytes) : bytes;
        this.keep(-bytes.length);
        this.hand(message, reader);
      });
      this.inflating.catch((error: unknown) => this.fail(error));
    });
    this.stream.on('data', (piece: Buffer) => {
      if (this.ended) return;
      try {
        messages.push(piece);
      } catch (error) {
        return this.fail(error);
      }
      this.count(messages.begun);
    });
    this.stream.once('end', () => {
      this.isHalfClosed = true;
      const finish = (): void => {
        if (this.ended) return;
        if (messages.begun > 0) this.abandon(GrpcCode.INTERNAL, 'the request ends within a message');
        else reader.end();
      };
      if (this.inflating) this.inflating.then(finish, () => undefined);
      else finish();
    });
  }

  /** Counts what there is of a message that is not whole. */
  private count(begun: number): void {
    const more = begun - this.begun;
    if (more === 0 || this.ended) return;
    this.begun = begun;
    this.wait();
    this.keep(more);
  }

  /** Counts bytes of requests, or fewer of them, until the call ends. False: there is no room, and it has ended. */
  keep(bytes: number): boolean {
    if (this.ended) return false;
    this.received += bytes;
    const fits = this.limits.budget.keep(bytes);
    if (!fits) this.abandon(GrpcCode.RESOURCE_EXHAUSTED, OVER_BUDGET);
    return fits;
  }

  /** Ends the call for its memory: with a status, or by a reset where the client does not read. */
  giveUp(): void {
    if (this.unread === 0) return this.abandon(GrpcCode.RESOURCE_EXHAUSTED, OVER_BUDGET);
    this.stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
    this.leaveUnread(0);
  }

  /** Sends the headers, before any message; `more` names and values. */
  sendHeaders(more: readonly string[] = []): void {
    if (this.ended || this.stream.destroyed || this.stream.closed || this.stream.headersSent) return;
    this.stream.respond([...HEADERS, ...more], AND_TRAILERS);
  }

  /** Whether what was written waits for the client to read. */
  get isBehind(): boolean {
    return this.stream.writableNeedDrain;
  }

  /** Calls back each time the client, who was behind, has read all. */
  onDrain(listener: () => void): void {
    this.stream.on('drain', listener);
  }

  /** Sends a message; nothing happens where nobody is there any more. */
  write(message: Uint8Array): void {
    if (this.ended) return;
    if (this.outgoing.push(message) === 1) setImmediate(() => this.flush());
  }

  /** Ends the call, behind a last message where there is one; only the first time counts. */
  end(status: CallStatus = OK, last?: Uint8Array): void {
    if (this.ended) return;
    this.finish(status.code);
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    if (last) this.outgoing.push(last);
    const trailers = {
      'grpc-status': String(status.code),
      'grpc-message': escaped(status.details),
      ...status.trailers,
    };
    if (this.isHalfClosed && this.outgoing.length === 0 && !stream.headersSent) {
      stream.respond([...HEADERS, ...Object.entries(trailers).flat()], ONLY_TRAILERS);
      return;
    }
    if (!stream.headersSent) stream.respond(HEADERS, AND_TRAILERS);
    stream.once('wantTrailers', () => {
      stream.sendTrailers(trailers);
      if (!this.isHalfClosed) this.stopReading();
    });
    this.sendLast();
    stream.resume();
  }

  /** Closes the stream for what still comes. A reset overtakes trailers that have not been written yet, and they are gone. */
  private stopReading(): void {
    setImmediate(() => {
      if (!this.isHalfClosed) this.stream.close(NGHTTP2_NO_ERROR);
    });
  }

  private sendLast(): void {
    const { stream, outgoing } = this;
    this.outgoing = [];
    if (outgoing.length === 0) return void stream.end();
    stream.end(framed(outgoing));
    if (stream.writableLength > SMALL_BYTES) this.leaveUnread(stream.writableLength);
  }

  private flush(): void {
    if (this.outgoing.length === 0 || this.ended) return;
    const messages = this.outgoing;
    this.outgoing = [];
    this.sendHeaders();
    const { stream } = this;
    if (stream.destroyed || stream.write(framed(messages))) return;
    if (this.unread === 0) stream.once('drain', () => this.leaveUnread(0));
    this.leaveUnread(stream.writableLength);
  }

  /** So much is written and waits for the client to read it. */
  private leaveUnread(bytes: number): void {
    const more = bytes - this.unread;
    this.unread = bytes;
    this.wait();
    this.limits.budget.keep(more);
  }

  /** Whether the budget may give the call up. */
  private wait(): void {
    if (this.begun > 0 || this.unread > 0) this.limits.budget.await(this);
    else this.limits.budget.forget(this);
  }

  private hand(bytes: Buffer, reader: CallReader): void {
    if (this.ended) return;
    try {
      reader.message(bytes);
    } catch (error) {
      this.abandon(GrpcCode.INTERNAL, `error unmarshalling request: ${messageOf(error)}`);
    }
  }

  private async inflate(bytes: Buffer): Promise<Buffer> {
    const encoding = this.header('grpc-encoding') ?? IDENTITY;
    if (encoding === IDENTITY) throw new Error('a message is compressed in no encoding');
    const inflateBytes = INFLATE.get(encoding);
    if (!inflateBytes) throw new UnknownEncoding(`messages in the encoding "${encoding}" are not read`);
    const max = this.limits.maxMessageBytes;
    return inflateBytes(bytes, max === Infinity ? {} : { maxOutputLength: Math.max(1, max) });
  }

  private fail(error: unknown): void {
    const { code = undefined } = error as { code?: string };
    const tooLong = error instanceof MessageTooLong || code === 'ERR_BUFFER_TOO_LARGE';
    if (error instanceof UnknownEncoding) this.abandon(GrpcCode.UNIMPLEMENTED, error.message, ENCODINGS);
    else this.abandon(tooLong ? GrpcCode.RESOURCE_EXHAUSTED : GrpcCode.INTERNAL, messageOf(error));
  }

  private endAfter(timeout: string): NodeJS.Timeout | undefined {
    const [, count, unit] = TIMEOUT.exec(timeout) ?? [];
    if (count === undefined || unit === undefined) {
      setImmediate(() => this.abandon(GrpcCode.INTERNAL, `malformed grpc-timeout "${timeout}"`));
      return undefined;
    }
    const ms = Math.min(Number(count) * (UNIT_MS[unit] as number), MAX_TIMER_MS);
    return setTimeout(() => this.abandon(GrpcCode.DEADLINE_EXCEEDED, 'the deadline of the call is over'), ms);
  }

  /** Ends the call for a reason that its method does not know. */
  private abandon(code: number, details: string, trailers: CallStatus['trailers'] = {}): void {
    const gone = this.onGone;
    this.end({ code, details, trailers });
    for (const listener of gone) listener();
  }

  private finish(code: number): void {
    this.ended = true;
    this.code = code;
    this.onGone = [];
    clearTimeout(this.deadline);
    this.limits.budget.keep(-this.received);
    this.received = 0;
    if (this.begun === 0) return;
    this.begun = 0;
    this.wait();
  }

  private close(): void {
    letGo(this.stream);
    if (this.unread > 0) this.leaveUnread(0);
    if (this.ended) return;
    const gone = this.onGone;
    this.finish(GrpcCode.CANCELLED);
    for (const listener of gone) listener();
  }
}

class UnknownEncoding extends Error {}

/** Clients take 8 KiB of trailers in all; some end the connection, with every call on it, when there is more. */
const MAX_MESSAGE_CHARACTERS = 500;

/** What a status may say: it often repeats what the client sent. */
export const shortened = (message: string): string =>
  message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed()}...` : message;

/** gRPC escapes what is not printable ASCII. */
const escaped = (text: string): string =>
  shortened(text.toWellFormed()).replace(NOT_PRINTABLE, (character) => encodeURIComponent(character));
