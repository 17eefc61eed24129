/** What is sent to the app on a connection over HTTP/2: within its windows, and in one write what goes in one turn. */

import { HeaderEncoder } from '../lib/hpack.ts';
import {
  ErrorCode,
  Flag,
  Frame,
  FrameWriter,
  Http2Error,
  LARGEST_WINDOW_BYTES,
  MAX_FRAME_BYTES,
} from './http2-frames.ts';

const DEFAULT_WINDOW_BYTES = 65_535;
/** Answers to pings and settings that the app has not taken. It asks and does not read. */
const MAX_ANSWERS = 10_000;
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** A request as it leaves. */
export interface Sending {
  readonly id: number;
  /** Headers that come again with others, names and values in turn; one list for all that have the same. */
  readonly lasting: readonly string[];
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** Bytes of the body that have left. */
  sent: number;
  /** Bytes that the app still takes of it. */
  window: number;
}

export class Outbox {
  /** Of a stream that begins. */
  streamWindow = DEFAULT_WINDOW_BYTES;
  maxFrameBytes = MAX_FRAME_BYTES;
  private readonly onFrames: (frames: Buffer) => boolean;
  private readonly encoder = new HeaderEncoder();
  private readonly writer = new FrameWriter();
  /** What lasting headers are in bytes, while the app remembers as many as then. */
  private readonly heads = new Map<readonly string[], { readonly remembered: number; readonly bytes: Buffer }>();
  /** They wait for a window. */
  private readonly blocked = new Set<Sending>();
  private window = DEFAULT_WINDOW_BYTES;
  private answers = 0;
  private flushing = false;

  /** `onFrames` writes, and says whether nothing waits before them. `settings` are ours, `windowBytes` what the app may send before it hears that it was read. */
  constructor(onFrames: Outbox['onFrames'], settings: Buffer, windowBytes: number) {
    this.onFrames = onFrames;
    this.writer.raw(PREFACE);
    this.writer.frame(Frame.SETTINGS, 0, 0, settings);
    this.read(0, windowBytes - DEFAULT_WINDOW_BYTES);
  }

  /** The app remembers headers of so many bytes. False where it is too late for less. */
  remembers(tableBytes: number): boolean {
    return this.encoder.limit(tableBytes);
  }

  begin(sending: Sending): void {
    this.writer.headers(sending.id, this.head(sending.lasting), sending.headers, this.maxFrameBytes);
    this.send(sending);
  }

  /** Nothing of it leaves any more. */
  forget(sending: Sending): void {
    this.blocked.delete(sending);
  }

  reset(stream: number, code: number): void {
    this.writer.numbers(Frame.RST_STREAM, 0, stream, code);
    this.flushSoon();
  }

  /** The app may send so many bytes more. */
  read(stream: number, bytes: number): void {
    this.writer.numbers(Frame.WINDOW_UPDATE, 0, stream, bytes);
    this.flushSoon();
  }

  /** Its settings or its ping were taken. Throws Http2Error. */
  acknowledge(type: typeof Frame.SETTINGS | typeof Frame.PING, payload: Uint8Array): void {
    if (++this.answers > MAX_ANSWERS) throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, 'it does not read answers');
    this.writer.frame(type, Flag.ACK, 0, payload);
    this.flushSoon();
  }

  /** At once: nothing is sent after it. */
  goAway(code: number): void {
    this.writer.numbers(Frame.GOAWAY, 0, 0, 0, code);
    this.flush();
  }

  /** The app takes so many bytes more: of a stream, or in all. Throws Http2Error. */
  grow(sending: Sending | undefined, bytes: number): void {
    const window = (sending ? sending.window : this.window) + bytes;
    if (window > LARGEST_WINDOW_BYTES) throw new Http2Error(ErrorCode.FLOW_CONTROL_ERROR, 'a window is too large');
    if (sending) sending.window = window;
    else this.window = window;
    for (const waiting of [...this.blocked]) this.send(waiting);
  }

  /** As much of its body as the app takes now. */
  private send(sending: Sending): void {
    const { id, body } = sending;
    for (;;) {
      const room = Math.max(0, Math.min(this.window, sending.window, this.maxFrameBytes));
      const part = sending.sent === 0 && body.length <= room ? body : body.subarray(sending.sent, sending.sent + room);
      sending.sent += part.length;
      const isLast = sending.sent === body.length;
      if (part.length === 0 && !isLast) {
        this.blocked.add(sending);
        break;
      }
      this.writer.frame(Frame.DATA, isLast ? Flag.END_STREAM : 0, id, part);
      this.window -= part.length;
      sending.window -= part.length;
      if (!isLast) continue;
      this.blocked.delete(sending);
      break;
    }
    this.flushSoon();
  }

  private head(lasting: readonly string[]): Buffer {
    const { remembered } = this.encoder;
    const known = this.heads.get(lasting);
    if (known?.remembered === remembered) return known.bytes;
    const bytes = this.encoder.lasting(lasting);
    if (this.encoder.remembered === remembered) this.heads.set(lasting, { remembered, bytes });
    return bytes;
  }

  private flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    setImmediate(() => {
      this.flushing = false;
      this.flush();
    });
  }

  private flush(): void {
    const frames = this.writer.take();
    if (frames.length > 0 && this.onFrames(frames)) this.answers = 0;
  }
}
