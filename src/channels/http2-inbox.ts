/** What the app sends on a connection over HTTP/2, frame by frame, as what it means. */

import { HeaderDecoder, HpackError } from '../lib/hpack.ts';
import { ErrorCode, Flag, Frame, FrameReader, Http2Error, SETTING_BYTES } from './http2-frames.ts';

/** Payloads are only there until the call returns. */
export interface Inbox {
  /** `fields`: names and values in turn; undefined where there is too much of them. */
  onHeaders(stream: number, fields: readonly string[] | undefined, isLast: boolean): void;
  /** `size`: what it counts of the window. */
  onData(stream: number, bytes: Buffer, isLast: boolean, size: number): void;
  onReset(stream: number, code: number): void;
  onSettings(settings: readonly (readonly [id: number, value: number])[]): void;
  onPing(payload: Buffer): void;
  /** Streams above `last` were not looked at. `why`: a code and perhaps some words. */
  onGoAway(last: number, why: string): void;
  /** 0: of the connection. */
  onWindow(stream: number, bytes: number): void;
}

/** A header block that has not come to its end. */
interface Block {
  readonly stream: number;
  readonly flags: number;
  readonly pieces: Buffer[];
  size: number;
}

/** Of a header block, beyond which the connection ends. */
const MAX_BLOCK_BYTES = 1 << 20;
const MAX_PIECES = 128;
/** Of what is said with a goodbye, in bytes. */
const MAX_WORDS = 200;

export class InboxReader {
  private readonly inbox: Inbox;
  private readonly decoder: HeaderDecoder;
  private readonly frames = new FrameReader((type, flags, stream, payload) =>
    this.onFrame(type, flags, stream, payload),
  );
  /** By the type of the frame; others mean nothing to us. */
  private readonly on: Readonly<Record<number, (stream: number, payload: Buffer, flags: number) => void>> = {
    [Frame.DATA]: (stream, payload, flags) =>
      this.inbox.onData(of(stream), unpadded(payload, flags), (flags & Flag.END_STREAM) !== 0, payload.length),
    [Frame.HEADERS]: (stream, payload, flags) => {
      this.block = { stream: of(stream), flags, pieces: [], size: 0 };
      this.onPiece(this.block, unprioritized(unpadded(payload, flags), flags), flags);
    },
    [Frame.CONTINUATION]: (_stream, payload, flags) => {
      if (!this.block) throw wrong('headers go on that did not begin');
      this.onPiece(this.block, payload, flags);
    },
    [Frame.RST_STREAM]: (stream, payload) => this.inbox.onReset(of(stream), exactly(4, payload).readUInt32BE(0)),
    [Frame.SETTINGS]: (_stream, payload, flags) => this.onSettings(payload, flags),
    [Frame.PING]: (_stream, payload, flags) => {
      if ((flags & Flag.ACK) === 0) this.inbox.onPing(exactly(8, payload));
    },
    [Frame.GOAWAY]: (_stream, payload) => {
      const words = payload.toString('latin1', 8, 8 + MAX_WORDS).replace(/[^ -~]/g, '?');
      this.inbox.onGoAway(numberOf(payload), `code ${numberOf(payload.subarray(4))} ${words}`.trimEnd());
    },
    [Frame.WINDOW_UPDATE]: (stream, payload) => {
      const bytes = numberOf(exactly(4, payload));
      if (bytes === 0) throw wrong('a window grows by nothing');
      this.inbox.onWindow(stream, bytes);
    },
    [Frame.PUSH_PROMISE]: () => {
      throw wrong('it pushes, which it was told not to');
    },
  };
  private block: Block | undefined;
  private begun = false;

  /** `maxHeaderBytes` of all headers that come at once. */
  constructor(inbox: Inbox, maxHeaderBytes: number) {
    this.inbox = inbox;
    this.decoder = new HeaderDecoder(maxHeaderBytes);
  }

  /** `bytes` are only there until the call returns. Throws Http2Error, after which nothing can be read. */
  push(bytes: Buffer): void {
    try {
      this.frames.push(bytes);
    } catch (error) {
      throw error instanceof HpackError ? new Http2Error(ErrorCode.COMPRESSION_ERROR, error.message) : error;
    }
  }

  private onFrame(type: number, flags: number, stream: number, payload: Buffer): void {
    if (!this.begun && type !== Frame.SETTINGS) throw wrong('it does not begin with its settings');
    if (this.block && (type !== Frame.CONTINUATION || stream !== this.block.stream)) {
      throw wrong('something else comes within headers');
    }
    this.on[type]?.(stream, payload, flags);
  }

  private onPiece(block: Block, piece: Buffer, flags: number): void {
    const { stream, pieces } = block;
    block.size += piece.length;
    if (block.size > MAX_BLOCK_BYTES || pieces.length === MAX_PIECES) {
      throw new Http2Error(ErrorCode.ENHANCE_YOUR_CALM, 'headers do not come to their end');
    }
    if ((flags & Flag.END_HEADERS) === 0) return void pieces.push(Buffer.from(piece));
    this.block = undefined;
    const bytes = pieces.length === 0 ? piece : Buffer.concat([...pieces, piece]);
    this.inbox.onHeaders(stream, this.decoder.decode(bytes), (block.flags & Flag.END_STREAM) !== 0);
  }

  private onSettings(payload: Buffer, flags: number): void {
    this.begun = true;
    if ((flags & Flag.ACK) !== 0) return;
    if (payload.length % SETTING_BYTES !== 0) throw wrong('a frame has the wrong size');
    const settings: [number, number][] = [];
    for (let at = 0; at < payload.length; at += SETTING_BYTES) {
      settings.push([payload.readUInt16BE(at), payload.readUInt32BE(at + 2)]);
    }
    this.inbox.onSettings(settings);
  }
}

const wrong = (message: string): Http2Error => new Http2Error(ErrorCode.PROTOCOL_ERROR, message);

/** A stream, where there must be one. */
function of(stream: number): number {
  if (stream === 0) throw wrong('an answer is to no request');
  return stream;
}

/** Of 31 bits, at the beginning. */
function numberOf(payload: Buffer): number {
  if (payload.length < 4) throw wrong('a frame is too short');
  return payload.readUInt32BE(0) & 0x7f_ff_ff_ff;
}

function exactly(bytes: number, payload: Buffer): Buffer {
  if (payload.length !== bytes) throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, 'a frame has the wrong size');
  return payload;
}

function unpadded(payload: Buffer, flags: number): Buffer {
  if ((flags & Flag.PADDED) === 0) return payload;
  const end = payload.length - (payload[0] ?? Infinity);
  if (end < 1) throw wrong('a frame has more padding than bytes');
  return payload.subarray(1, end);
}

const unprioritized = (payload: Buffer, flags: number): Buffer =>
  (flags & Flag.PRIORITY) === 0 ? payload : payload.subarray(5);
