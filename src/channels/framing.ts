/** How gRPC puts messages on a stream of bytes: a flag that tells whether one is compressed, its length, itself. */

import type { Http2Stream } from 'node:http2';

export const PREFIX_BYTES = 5;

/** The bytes of messages that go together. */
export function framed(messages: readonly Uint8Array[]): Buffer {
  let size = 0;
  for (const { length } of messages) size += PREFIX_BYTES + length;
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const message of messages) {
    bytes[at] = 0;
    bytes.writeUInt32BE(message.length, at + 1);
    bytes.set(message, at + PREFIX_BYTES);
    at += PREFIX_BYTES + message.length;
  }
  return bytes;
}

/** A message that is longer than may be. */
export class MessageTooLong extends Error {}

/** Cuts what arrives in pieces into messages. */
export class MessageReader {
  private readonly maxBytes: number;
  private readonly onMessage: (message: Buffer, compressed: boolean) => void;
  private pieces: Buffer[] = [];
  private size = 0;
  /** Bytes that the next step wants: a prefix, or a prefix and its message. */
  private wanted = PREFIX_BYTES;

  /** `maxBytes` of one message; Infinity: any. */
  constructor(maxBytes: number, onMessage: MessageReader['onMessage']) {
    this.maxBytes = maxBytes;
    this.onMessage = onMessage;
  }

  /** Bytes of a message that has begun and is not whole. */
  get begun(): number {
    return this.size;
  }

  /** Hands over each message that is whole, a view of the pieces where it came in one. Throws MessageTooLong. */
  push(piece: Buffer): void {
    this.pieces.push(piece);
    this.size += piece.length;
    if (this.size < this.wanted) return;
    let bytes = this.pieces.length === 1 ? piece : Buffer.concat(this.pieces, this.size);
    for (this.wanted = wantedOf(bytes, this.maxBytes); bytes.length >= this.wanted;) {
      const message = bytes.subarray(PREFIX_BYTES, this.wanted);
      const flag = bytes[0] as number;
      if (flag > 1) throw new Error(`a message begins with ${flag}, which is no flag of gRPC`);
      bytes = bytes.subarray(this.wanted);
      this.wanted = wantedOf(bytes, this.maxBytes);
      this.onMessage(message, flag === 1);
    }
    this.pieces = bytes.length > 0 ? [bytes] : [];
    this.size = bytes.length;
  }
}

/**
 * Lets go of what listens to a stream that has closed. node:http2 keeps the stream until the old generation is
 * collected, and with it the message and the headers (measured: 2 KB of 9 a call, half of p99 at 1 000 a second).
 */
export function letGo(stream: Http2Stream): void {
  // First those who would be told of every removal: that costs five times as much.
  stream.removeAllListeners('removeListener').removeAllListeners();
}

function wantedOf(bytes: Buffer, maxBytes: number): number {
  if (bytes.length < PREFIX_BYTES) return PREFIX_BYTES;
  const length = bytes.readUInt32BE(1);
  if (length > maxBytes) throw new MessageTooLong(`a message of ${length} bytes, ${maxBytes} are the most`);
  return PREFIX_BYTES + length;
}
