/** One connection to the app over HTTP/2: many exchanges at once, of which each request is at hand as a whole. */

import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { PROBE_AFTER_MS } from './app-client.ts';
import {
  ErrorCode,
  Frame,
  Http2Error,
  LARGEST_FRAME_BYTES,
  LARGEST_WINDOW_BYTES,
  MAX_FRAME_BYTES,
  settingsOf,
} from './http2-frames.ts';
import { InboxReader } from './http2-inbox.ts';
import { Outbox, type Sending } from './http2-outbox.ts';

const CONNECT_TIMEOUT_MS = 20_000;
/** How long the last words may take to leave. */
const GOODBYE_MS = 5000;
/** Bytes that wait for the app to read, beyond which no exchange begins. */
const MAX_WAITING_BYTES = 1 << 20;
const LAST_STREAM = 2 ** 31 - 1;
/** What the app may send of an answer, and of all together, before it hears that it was read. */
const WINDOW_BYTES = 1 << 20;
const MAX_HEADER_BYTES = 65_536;
const [TABLE_BYTES, ENABLE_PUSH, MAX_STREAMS, STREAM_WINDOW, MAX_FRAME, MAX_HEADERS] = [1, 2, 3, 4, 5, 6] as const;
const OUR_SETTINGS = settingsOf([
  [ENABLE_PUSH, 0],
  [STREAM_WINDOW, WINDOW_BYTES],
  [MAX_HEADERS, MAX_HEADER_BYTES],
]);
/** Read into by one connection at a time, and done with before the next. */
const shared = Buffer.allocUnsafeSlow(64 * 1024);

/** How an exchange ended: as it should, reset with one of ErrorCode, or with its connection. */
export interface ExchangeEnd {
  readonly code: number;
  /** Why its connection was lost. */
  readonly lost?: string;
  /** Nothing of the request has left. */
  readonly unsent?: true;
}

/** A request and who hears its answer. */
export interface Exchange extends Pick<Sending, 'lasting' | 'headers' | 'body'> {
  /** Names and values in turn; undefined where there is too much of them. */
  onHeaders(fields: readonly string[] | undefined): void;
  /** `bytes` are only there until the call returns. */
  onData(bytes: Buffer): void;
  /** Once, and nothing after it. */
  onEnd(end: ExchangeEnd): void;
}

interface Stream extends Sending {
  readonly exchange: Exchange;
  /** Bytes of the answer that the app does not know to be read. */
  unread: number;
}

export interface Http2Where {
  readonly host: string;
  readonly port: number;
  /** The certificate is not verified. */
  readonly tls: boolean;
}

export class Http2Connection {
  private readonly socket: Socket;
  private readonly events: {
    /** Once: it takes no exchange any more. */
    readonly onRetired: () => void;
    /** Once, afterwards: its socket is closed. */
    readonly onClose: () => void;
  };
  private readonly inbox = new InboxReader(this, MAX_HEADER_BYTES);
  private readonly outbox: Outbox;
  private readonly connecting: NodeJS.Timeout;
  private readonly resting: NodeJS.Timeout;
  private readonly streams = new Map<number, Stream>();
  /** They have not begun. */
  private readonly waiting = new Set<Exchange>();
  private nextId = 1;
  private maxStreams = Infinity;
  /** The app has said what it takes. */
  private isReady = false;
  /** What the app said when it announced the end. */
  private goodbye: string | undefined;
  private unread = 0;
  private isRetired = false;
  private isOver = false;

  /** It retires when it had nothing to do for `idleMs`. */
  constructor({ host, port, tls }: Http2Where, idleMs: number, events: Http2Connection['events']) {
    this.events = events;
    const onread = { buffer: shared, callback: (size: number) => this.onBytes(shared.subarray(0, size)) };
    const to = { host, port, noDelay: true, onread };
    const secured = { ALPNProtocols: ['h2'], rejectUnauthorized: false, ...(isIP(host) === 0 && { servername: host }) };
    this.socket = tls ? connectTls({ ...to, ...secured }) : connectPlain(to);
    const late = (): void => this.destroy(`no connection to ${host}:${port} within ${CONNECT_TIMEOUT_MS / 1000} s`);
    this.connecting = setTimeout(late, CONNECT_TIMEOUT_MS);
    this.resting = setTimeout(() => this.rest(), idleMs).unref();
    this.socket.once('connect', () => this.socket.setKeepAlive(true, PROBE_AFTER_MS));
    this.socket.once('end', () => this.destroy());
    this.socket.on('error', ({ message }) => this.destroy(message));
    this.socket.on('drain', () => this.begin());
    this.socket.once('close', () => {
      this.destroy();
      events.onClose();
    });
    this.outbox = new Outbox((frames) => this.write(frames), OUR_SETTINGS, WINDOW_BYTES);
  }

  /** Not to be called once it is retired. */
  run(exchange: Exchange): void {
    this.waiting.add(exchange);
    this.begin();
  }

  /** Ends an exchange, which hears of it. */
  cancel(exchange: Exchange): void {
    if (this.waiting.delete(exchange)) return exchange.onEnd({ code: ErrorCode.CANCEL });
    for (const stream of this.streams.values()) {
      if (stream.exchange !== exchange) continue;
      this.outbox.reset(stream.id, ErrorCode.CANCEL);
      this.end(stream, { code: ErrorCode.CANCEL });
    }
  }

  /** Takes no exchange any more, and closes when the last has ended. */
  retire(): void {
    if (!this.isRetired) {
      this.isRetired = true;
      this.events.onRetired();
      this.endWaiting({ code: ErrorCode.REFUSED_STREAM, unsent: true });
    }
    if (this.streams.size > 0 || this.isOver) return;
    if (!this.isReady) return this.destroy();
    this.outbox.goAway(ErrorCode.NO_ERROR);
    this.close();
    this.socket.destroySoon();
    setTimeout(() => this.socket.destroy(), GOODBYE_MS).unref();
  }

  /** Ends it and all that is on it. */
  destroy(why = this.goodbye ?? 'the connection was lost'): void {
    this.socket.destroy();
    if (this.isOver) return;
    this.close();
    const end = { code: ErrorCode.NO_ERROR, lost: why };
    for (const stream of this.streams.values()) this.end(stream, end);
    this.endWaiting(end);
  }

  onHeaders(id: number, fields: readonly string[] | undefined, isLast: boolean): void {
    const stream = this.streams.get(id);
    stream?.exchange.onHeaders(fields);
    if (isLast && stream && this.isInHand(stream)) this.answered(stream);
  }

  onData(id: number, bytes: Buffer, isLast: boolean, size: number): void {
    const stream = this.streams.get(id);
    this.unread = this.read(0, this.unread + size);
    if (!stream) return;
    stream.exchange.onData(bytes);
    if (!this.isInHand(stream)) return;
    if (isLast) this.answered(stream);
    else stream.unread = this.read(id, stream.unread + size);
  }

  onReset(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream) this.end(stream, { code });
  }

  onSettings(settings: readonly (readonly [id: number, value: number])[]): void {
    this.isReady = true;
    clearTimeout(this.connecting);
    this.outbox.acknowledge(Frame.SETTINGS, Buffer.alloc(0)); // before anything that they allow
    for (const [id, value] of settings) {
      if (id === MAX_STREAMS) this.maxStreams = value;
      if (id === MAX_FRAME) this.outbox.maxFrameBytes = within(MAX_FRAME_BYTES, value, LARGEST_FRAME_BYTES);
      if (id === TABLE_BYTES && !this.outbox.remembers(value)) this.retire();
      if (id === STREAM_WINDOW) this.resize(within(0, value, LARGEST_WINDOW_BYTES));
    }
    this.begin();
  }

  onPing(payload: Buffer): void {
    this.outbox.acknowledge(Frame.PING, payload);
  }

  onGoAway(last: number, why: string): void {
    this.goodbye = `the app ended the connection: ${why}`;
    this.retire();
    for (const stream of this.streams.values()) {
      if (stream.id > last) this.end(stream, { code: ErrorCode.REFUSED_STREAM });
    }
  }

  onWindow(id: number, bytes: number): void {
    const stream = this.streams.get(id);
    if (stream || id === 0) this.outbox.grow(stream, bytes);
  }

  /** What the app takes of each stream, also of those that have begun. */
  private resize(window: number): void {
    const more = window - this.outbox.streamWindow;
    this.outbox.streamWindow = window;
    for (const stream of this.streams.values()) this.outbox.grow(stream, more);
  }

  private begin(): void {
    if (!this.isReady || this.isRetired || this.socket.writableLength > MAX_WAITING_BYTES) return;
    for (const exchange of this.waiting) {
      if (this.streams.size >= this.maxStreams) return;
      this.waiting.delete(exchange);
      const { lasting, headers, body } = exchange;
      const [id, window] = [this.nextId, this.outbox.streamWindow];
      const stream = { id, exchange, lasting, headers, body, sent: 0, window, unread: 0 };
      this.nextId += 2;
      this.streams.set(id, stream);
      this.outbox.begin(stream);
      if (this.nextId > LAST_STREAM) return this.retire();
    }
  }

  /** The answer is whole. What the app did not want to hear of the request does not go. */
  private answered(stream: Stream): void {
    if (stream.sent < stream.body.length) this.outbox.reset(stream.id, ErrorCode.CANCEL);
    this.end(stream, { code: ErrorCode.NO_ERROR });
  }

  private end(stream: Stream, end: ExchangeEnd): void {
    if (!this.streams.delete(stream.id)) return;
    this.outbox.forget(stream);
    stream.exchange.onEnd(end);
    if (this.isRetired) return this.retire();
    this.begin();
    if (this.streams.size === 0) this.resting.refresh();
  }

  private rest(): void {
    if (this.streams.size === 0 && this.waiting.size === 0) this.retire();
    else this.resting.refresh();
  }

  private isInHand(stream: Stream): boolean {
    return this.streams.get(stream.id) === stream;
  }

  /** Whether nothing waits before it. */
  private write(frames: Buffer): boolean {
    const isFree = this.socket.writableLength === 0;
    if (!this.isOver) this.socket.write(frames);
    return isFree;
  }

  private close(): void {
    this.isOver = true;
    clearTimeout(this.connecting);
    clearTimeout(this.resting);
    if (!this.isRetired) this.events.onRetired();
    this.isRetired = true;
  }

  private endWaiting(end: ExchangeEnd): void {
    for (const exchange of this.waiting) {
      this.waiting.delete(exchange);
      exchange.onEnd(end);
    }
  }

  /** Tells the app that so much was read where that is worth a frame. Returns what it has not heard of. */
  private read(stream: number, bytes: number): number {
    if (bytes < WINDOW_BYTES / 2) return bytes;
    this.outbox.read(stream, bytes);
    return 0;
  }

  private onBytes(bytes: Buffer): boolean {
    if (this.isOver) return true;
    try {
      this.inbox.push(bytes);
    } catch (error) {
      this.outbox.goAway(error instanceof Http2Error ? error.code : ErrorCode.PROTOCOL_ERROR);
      this.destroy(`the app does not keep to HTTP/2: ${(error as Error).message}`);
    }
    return true;
  }
}

function within(least: number, value: number, most: number): number {
  if (value >= least && value <= most) return value;
  throw new Http2Error(ErrorCode.PROTOCOL_ERROR, `${value} is no setting`);
}
