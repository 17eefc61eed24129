/**
 * A call as the server sees it, over one stream of node:http2: messages in and out, headers, status, deadline,
 * cancellation. What a method writes within one turn of the event loop leaves in one write.
 */

import { constants, type IncomingHttpHeaders, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { gunzip, inflate } from 'node:zlib';
import { promisify } from 'node:util';
import { framed, MessageReader, MessageTooLong } from '../channels/framing.ts';
import { GrpcCode, messageOf } from '../core/errors.ts';

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

const { HTTP2_HEADER_STATUS, HTTP2_HEADER_CONTENT_TYPE } = constants;
export const OK: CallStatus = { code: GrpcCode.OK, details: '' };
const HEADERS = { [HTTP2_HEADER_STATUS]: 200, [HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc' };
const WAIT_FOR_TRAILERS = { waitForTrailers: true };
const INFLATE = new Map([
  ['gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
]);
/** What a client whose encoding is not read is told. */
const IDENTITY = 'identity';
const ENCODINGS = { 'grpc-accept-encoding': [IDENTITY, ...INFLATE.keys()].join(',') };
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const MAX_TIMER_MS = 2 ** 31 - 1;
const NOT_PRINTABLE = /[^ -~]|%/gu;

export class ServerCall {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  private readonly stream: ServerHttp2Stream;
  private readonly maxMessageBytes: number;
  private readonly deadline: NodeJS.Timeout | undefined;
  private outgoing: Uint8Array[] = [];
  private onGone: (() => void)[] = [];
  /** Messages are inflated one behind the other; undefined while none was compressed. */
  private inflating: Promise<void> | undefined;
  private ended = false;

  /** `maxMessageBytes` of one message, either way; Infinity: any. */
  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, maxMessageBytes: number) {
    this.stream = stream;
    this.headers = headers;
    this.path = headers[':path'] ?? '';
    this.maxMessageBytes = maxMessageBytes;
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

  /** Calls back once when nothing more will be sent or come. */
  onClose(listener: () => void): void {
    this.stream.once('close', listener);
  }

  /** Begins to read. Nothing is lost of what came before. */
  read(reader: CallReader): void {
    const messages = new MessageReader(this.maxMessageBytes, (bytes, compressed) => {
      if (!compressed && !this.inflating) return this.hand(bytes, reader);
      const before = this.inflating ?? Promise.resolve();
      this.inflating = before.then(async () => {
        if (!this.ended) this.hand(compressed ? await this.inflate(bytes) : bytes, reader);
      });
      this.inflating.catch((error: unknown) => this.fail(error));
    });
    this.stream.on('data', (piece: Buffer) => {
      if (this.ended) return;
      try {
        messages.push(piece);
      } catch (error) {
        this.fail(error);
      }
    });
    this.stream.once('end', () => {
      const finish = (): void => {
        if (this.ended) return;
        if (messages.isWithin) this.abandon(GrpcCode.INTERNAL, 'the request ends within a message');
        else reader.end();
      };
      if (this.inflating) this.inflating.then(finish, () => undefined);
      else finish();
    });
  }

  /** Sends the headers, before any message; `more` of them. */
  sendHeaders(more: OutgoingHttpHeaders = {}): void {
    if (this.ended || this.stream.destroyed || this.stream.closed || this.stream.headersSent) return;
    this.stream.respond({ ...HEADERS, ...more }, WAIT_FOR_TRAILERS);
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
    this.finish();
    const { stream } = this;
    if (stream.destroyed || stream.closed) return;
    if (last) this.outgoing.push(last);
    const trailers = { 'grpc-status': status.code, 'grpc-message': escaped(status.details), ...status.trailers };
    const isPlain = this.outgoing.length === 0 && !stream.headersSent;
    if (isPlain) {
      stream.respond({ ...HEADERS, ...trailers }, { endStream: true });
    } else {
      if (!stream.headersSent) stream.respond(HEADERS, WAIT_FOR_TRAILERS);
      stream.once('wantTrailers', () => stream.sendTrailers(trailers));
      if (this.outgoing.length > 0) stream.end(framed(this.outgoing));
      else stream.end();
    }
    this.outgoing = [];
    stream.resume(); // what still comes is nobody's
  }

  private flush(): void {
    if (this.outgoing.length === 0 || this.ended) return;
    const messages = this.outgoing;
    this.outgoing = [];
    this.sendHeaders();
    if (!this.stream.destroyed) this.stream.write(framed(messages));
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
    const max = this.maxMessageBytes;
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

  private finish(): void {
    this.ended = true;
    this.onGone = [];
    clearTimeout(this.deadline);
  }

  private close(): void {
    if (this.ended) return;
    const gone = this.onGone;
    this.finish();
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
