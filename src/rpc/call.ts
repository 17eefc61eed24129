/**
 * A call as the server sees it, over one stream of node:http2: messages in and out, headers, status, deadline,
 * cancellation. What a method writes within one turn of the event loop leaves in one write.
 */

import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import { framed, letGo } from '../channels/framing.ts';
import { escaped, shortened, timeoutMs } from '../channels/grpc-headers.ts';
import { GrpcCode } from '../core/errors.ts';
import { MAX_TIMER_MS } from '../lib/deadline.ts';
import type { MemoryBudget, Waiting } from '../lib/memory-budget.ts';
import { Incoming, type CallLimits, type CallReader } from './incoming.ts';

export interface CallStatus {
  readonly code: number;
  readonly details: string;
  /** More trailers: header names and values. */
  readonly trailers?: Readonly<Record<string, string | string[]>>;
}

const { HTTP2_HEADER_STATUS, HTTP2_HEADER_CONTENT_TYPE, NGHTTP2_NO_ERROR, NGHTTP2_ENHANCE_YOUR_CALM } = constants;
export const OK: CallStatus = { code: GrpcCode.OK, details: '' };
export const LATE: CallStatus = { code: GrpcCode.DEADLINE_EXCEEDED, details: 'the deadline of the call is over' };
/** Names and values as they go on the wire: cheaper than an object, of which node:http2 makes another. */
const HEADERS = [HTTP2_HEADER_STATUS, '200', HTTP2_HEADER_CONTENT_TYPE, 'application/grpc'];
/** The list stays as it is without a date, which gRPC has no use for. */
const AND_TRAILERS = { waitForTrailers: true, sendDate: false };
const ONLY_TRAILERS = { endStream: true, sendDate: false };
/** Answers up to here are not counted: what calls there may be bounds them. */
const SMALL_BYTES = 1024;

export class ServerCall implements Waiting {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  private readonly stream: ServerHttp2Stream;
  private readonly budget: MemoryBudget;
  private readonly incoming: Incoming;
  /** Why it is not to be served. */
  readonly fault: CallStatus | undefined;
  private readonly deadline: NodeJS.Timeout | undefined;
  private due = Infinity;
  private opening: readonly string[] = HEADERS;
  private outgoing: Uint8Array[] = [];
  private onGone: (() => void)[] = [];
  private ended = false;
  private code: number = GrpcCode.OK;
  /** Bytes that the client has still to read, which the budget counts. */
  private unread = 0;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, limits: CallLimits) {
    this.stream = stream;
    this.headers = headers;
    this.path = headers[':path'] ?? '';
    this.budget = limits.budget;
    const encoding = this.header('grpc-encoding');
    this.incoming = new Incoming(stream, encoding, limits, (...fault) => this.abandon(...fault));
    stream.once('close', () => this.close());
    const timeout = this.header('grpc-timeout');
    if (timeout === undefined) return;
    const ms = timeoutMs(timeout);
    if (ms === undefined) this.fault = { code: GrpcCode.INTERNAL, details: `malformed grpc-timeout "${timeout}"` };
    else this.deadline = this.endAfter(ms);
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
    this.incoming.read(reader);
  }

  /** Counts bytes of requests, or fewer of them, until the call ends. False: there is no room, and it has ended. */
  keep(bytes: number): boolean {
    return this.incoming.keep(bytes);
  }

  /** Resets the stream of a client that does not read. */
  giveUp(): void {
    this.stream.close(NGHTTP2_ENHANCE_YOUR_CALM);
    this.leaveUnread(0);
  }

  /** Whether its time is over, though it may have not ended yet. */
  get isLate(): boolean {
    return performance.now() >= this.due;
  }

  /** Answers are of this content type, where it is another than gRPC's plain one. */
  answerAs(contentType: string): void {
    this.opening = [HTTP2_HEADER_STATUS, '200', HTTP2_HEADER_CONTENT_TYPE, contentType];
  }

  /** Sends the headers, before any message; `more` names and values. */
  sendHeaders(more: readonly string[] = []): void {
    if (this.ended || this.stream.destroyed || this.stream.closed || this.stream.headersSent) return;
    this.stream.respond([...this.opening, ...more], AND_TRAILERS);
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
      'grpc-message': escaped(shortened(status.details)),
      ...status.trailers,
    };
    if (stream.readableEnded && this.outgoing.length === 0 && !stream.headersSent) {
      const pairs = Object.entries(trailers).map(([name, values]) => [values].flat().flatMap((value) => [name, value]));
      stream.respond([...this.opening, ...pairs.flat()], ONLY_TRAILERS);
      return;
    }
    if (!stream.headersSent) stream.respond(this.opening, AND_TRAILERS);
    stream.once('wantTrailers', () => {
      stream.sendTrailers(trailers);
      if (!stream.readableEnded) setImmediate(() => this.stopReading());
    });
    this.sendLast();
    stream.resume();
  }

  /** Closes the stream for what still comes. A reset overtakes trailers that have not been written yet, and they are gone. */
  private stopReading(): void {
    if (!this.stream.readableEnded) this.stream.close(NGHTTP2_NO_ERROR);
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
    if (bytes > 0) this.budget.await(this);
    else this.budget.forget(this);
    this.budget.keep(more);
  }

  private endAfter(ms: number): NodeJS.Timeout {
    this.due = performance.now() + ms;
    return setTimeout(() => this.abandon(LATE.code, LATE.details), Math.min(ms, MAX_TIMER_MS));
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
    this.incoming.end();
  }

  private close(): void {
    letGo(this.stream);
    if (this.unread > 0) this.leaveUnread(0);
    this.abandon(GrpcCode.CANCELLED, 'the call was given up');
  }
}
