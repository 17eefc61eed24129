/**
 * A connection that was upgraded from HTTP/1.1 to HTTP/2. The client counts the request that asked for it as stream 1
 * and does not send it again, so it is put among what the client sends: behind its preface and its settings.
 */

import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';

const PREFACE_BYTES = 24;
const FRAME_HEADER_BYTES = 9;
const HEADERS_FRAME = 1;
const END_STREAM_END_HEADERS = 0x05;
/** Hop by hop, or said by a pseudo header. */
const LEFT_OUT = new Set(['connection', 'host', 'http2-settings', 'keep-alive', 'proxy-connection', 'te', 'upgrade']);

export class UpgradedConnection extends Duplex {
  private readonly socket: Duplex;
  private readonly first: Buffer;
  /** What came before the first stream could be put in; undefined once it was. */
  private opening: Buffer | undefined = Buffer.alloc(0);

  /** `head`: what the client sent behind its request. */
  constructor(request: IncomingMessage, socket: Duplex, head: Buffer) {
    super();
    this.socket = socket;
    this.first = headersFrame(request);
    if (head.length > 0) socket.unshift(head);
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.once('end', () => this.push(null));
    socket.once('error', (error) => this.destroy(error));
    socket.once('close', () => this.destroy());
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, encoding, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }

  private receive(chunk: Buffer): void {
    let out = chunk;
    if (this.opening) {
      const opening = Buffer.concat([this.opening, chunk]);
      const settings = PREFACE_BYTES + FRAME_HEADER_BYTES;
      const end = opening.length < settings ? Infinity : settings + opening.readUIntBE(PREFACE_BYTES, 3);
      if (opening.length < end) {
        // Larger settings than anybody has: whatever it is, the reader of HTTP/2 says so.
        if (opening.length < MAX_OPENING_BYTES) return void (this.opening = opening);
        out = opening;
      } else {
        out = Buffer.concat([opening.subarray(0, end), this.first, opening.subarray(end)]);
      }
      this.opening = undefined;
    }
    if (!this.push(out)) this.socket.pause();
  }
}

const MAX_OPENING_BYTES = 32_768;

/** The request as the HEADERS frame that opens stream 1 and ends it. */
function headersFrame(request: IncomingMessage): Buffer {
  const fields: [string, string][] = [
    [':method', request.method ?? 'GET'],
    [':scheme', 'http'],
    [':path', request.url ?? '/'],
    [':authority', request.headers.host ?? ''],
  ];
  for (const [name, value] of Object.entries(request.headers)) {
    if (!LEFT_OUT.has(name)) for (const one of [value ?? []].flat()) fields.push([name, one]);
  }
  const block = Buffer.concat(fields.map(([name, value]) => Buffer.concat([LITERAL, text(name), text(value)])));
  const frame = Buffer.alloc(FRAME_HEADER_BYTES);
  frame.writeUIntBE(block.length, 0, 3);
  frame.writeUInt8(HEADERS_FRAME, 3);
  frame.writeUInt8(END_STREAM_END_HEADERS, 4);
  frame.writeUInt32BE(1, 5);
  return Buffer.concat([frame, block]);
}

/** HPACK: a field that is not to be indexed, its name spelt out. */
const LITERAL = Buffer.from([0]);

/** HPACK: a string without Huffman coding, its length as an integer of 7 bits and more. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest > 127; rest >>>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
}
