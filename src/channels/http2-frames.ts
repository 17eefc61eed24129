/** Frames of HTTP/2 (RFC 9113, section 4), cut from what arrives and written one after the other. */

import { literalBytes, writeLiterals } from '../lib/hpack.ts';

export const Frame = {
  DATA: 0,
  HEADERS: 1,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { ACK: 1, END_STREAM: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;

export const ErrorCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  FLOW_CONTROL_ERROR: 3,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
} as const;

/** What the other side sent is no HTTP/2; `code` is what it is told. */
export class Http2Error extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

const HEAD_BYTES = 9;
export const SETTING_BYTES = 6;
/** Of the payload of a frame, as long as nothing else was agreed. */
export const MAX_FRAME_BYTES = 16_384;
/** What may be agreed. */
export const LARGEST_FRAME_BYTES = 2 ** 24 - 1;
export const LARGEST_WINDOW_BYTES = 2 ** 31 - 1;
const FIRST_BYTES = 2048;
const MAX_KEPT_BYTES = 65_536;

/** `payload` is only there until the call returns. */
export type OnFrame = (type: number, flags: number, stream: number, payload: Buffer) => void;

export class FrameReader {
  private readonly onFrame: OnFrame;
  private rest: Buffer | undefined;

  constructor(onFrame: OnFrame) {
    this.onFrame = onFrame;
  }

  /** `piece` is only there until the call returns. Throws Http2Error. */
  push(piece: Buffer): void {
    const bytes = this.rest ? Buffer.concat([this.rest, piece]) : piece;
    let at = 0;
    while (bytes.length - at >= HEAD_BYTES) {
      const length = bytes.readUIntBE(at, 3);
      if (length > MAX_FRAME_BYTES) {
        throw new Http2Error(ErrorCode.FRAME_SIZE_ERROR, `a frame of ${length} bytes, as from what is no HTTP/2`);
      }
      const [start, end] = [at + HEAD_BYTES, at + HEAD_BYTES + length];
      if (bytes.length < end) break;
      const stream = bytes.readUInt32BE(at + 5) & 0x7f_ff_ff_ff;
      this.onFrame(bytes[at + 3] as number, bytes[at + 4] as number, stream, bytes.subarray(start, end));
      at = end;
    }
    this.rest = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
  }
}

/** Frames that leave together. */
export class FrameWriter {
  private bytes = Buffer.alloc(0);
  private size = 0;
  private sizeBefore = 0;

  /** The frames since the last time. */
  take(): Buffer {
    const frames = this.bytes.subarray(0, this.size);
    this.sizeBefore = Math.min(this.size, MAX_KEPT_BYTES);
    this.bytes = Buffer.alloc(0);
    this.size = 0;
    return frames;
  }

  frame(type: number, flags: number, stream: number, payload: Uint8Array): void {
    this.reserve(HEAD_BYTES + payload.length);
    this.head(payload.length, type, flags, stream);
    this.raw(payload);
  }

  /** A frame of 32-bit numbers. */
  numbers(type: number, flags: number, stream: number, ...numbers: readonly number[]): void {
    this.reserve(HEAD_BYTES + 4 * numbers.length);
    this.head(4 * numbers.length, type, flags, stream);
    for (const number of numbers) this.size = this.bytes.writeUInt32BE(number, this.size);
  }

  /** The beginning of a stream: `lasting` as the encoder made it, and what is sent this time only. */
  headers(stream: number, lasting: Buffer, others: readonly string[], maxFrameBytes: number): void {
    this.reserve(HEAD_BYTES + lasting.length + literalBytes(others));
    const start = this.size + HEAD_BYTES;
    this.bytes.set(lasting, start);
    const end = writeLiterals(this.bytes, start + lasting.length, others);
    if (end - start <= maxFrameBytes) {
      this.head(end - start, Frame.HEADERS, Flag.END_HEADERS, stream);
      this.size = end;
      return;
    }
    const block = Buffer.from(this.bytes.subarray(start, end));
    for (let at = 0; at < block.length; at += maxFrameBytes) {
      const isLast = at + maxFrameBytes >= block.length;
      const type = at === 0 ? Frame.HEADERS : Frame.CONTINUATION;
      this.frame(type, isLast ? Flag.END_HEADERS : 0, stream, block.subarray(at, at + maxFrameBytes));
    }
  }

  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.size);
    this.size += bytes.length;
  }

  private head(length: number, type: number, flags: number, stream: number): void {
    const { bytes, size } = this;
    bytes[size] = length >>> 16;
    bytes[size + 1] = length >>> 8;
    bytes[size + 2] = length;
    bytes[size + 3] = type;
    bytes[size + 4] = flags;
    this.size = bytes.writeUInt32BE(stream, size + 5);
  }

  private reserve(bytes: number): void {
    const wanted = this.size + bytes;
    if (wanted <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(wanted, 2 * this.bytes.length, this.sizeBefore, FIRST_BYTES));
    this.bytes.copy(larger, 0, 0, this.size);
    this.bytes = larger;
  }
}

/** The payload of a SETTINGS frame. */
export function settingsOf(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const bytes = Buffer.alloc(SETTING_BYTES * settings.length);
  settings.forEach(([id, value], i) => {
    bytes.writeUInt16BE(id, i * SETTING_BYTES);
    bytes.writeUInt32BE(value, i * SETTING_BYTES + 2);
  });
  return bytes;
}
