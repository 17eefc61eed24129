/** A response of HTTP/1.1 from the bytes that come in (RFC 9112): its head, and a body by length, in chunks, or to the end. */

/** The bytes are no response, or more of one than may be. */
class ResponseFault extends Error {}

type Body =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'to-end' };

const MAX_HEAD_BYTES = 64 * 1024;
const LF = 0x0a;
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: |$)/;
const NOTHING = Buffer.alloc(0);

export class ResponseReader {
  status = 0;
  /** Flat list of names in lower case and values. */
  headers: string[] = [];
  /** Bytes of the body so far. */
  size = 0;
  /** Whether the connection may carry another request, and for how long its server keeps it, in milliseconds. */
  keepsAlive = false;
  keepsAliveMs: number | undefined;
  isDone = false;
  private readonly isHead: boolean;
  private readonly limit: number;
  private body: Body | undefined;
  private readonly pieces: Buffer[] = [];
  /** What came and could not be read yet: a part of the head, or of a line between chunks. */
  private rest: Buffer = NOTHING;
  /** Bytes that the chunk at hand still wants; undefined where its size comes next, -1 in the trailers. */
  private wanted: number | undefined;

  /** `limit` of the body in bytes; 0 or less: any. `isHead`: the answer to a HEAD has no body whatever it says. */
  constructor(limit: number, isHead: boolean) {
    this.limit = limit;
    this.isHead = isHead;
  }

  /** Takes bytes, which are the caller's again afterwards. Returns how many it had no use for. Throws ResponseFault. */
  push(bytes: Buffer): number {
    let at = 0;
    let given = bytes;
    if (this.rest.length > 0) {
      given = Buffer.concat([this.rest, bytes]);
      this.rest = NOTHING;
    }
    while (!this.isDone && at < given.length) {
      const next = this.body ? this.readBody(given, at, this.body) : this.readHead(given, at);
      if (next < 0) {
        this.rest = Buffer.from(given.subarray(at));
        if (this.rest.length > MAX_HEAD_BYTES) throw new ResponseFault('the head of the answer is too large');
        return 0;
      }
      at = next;
    }
    return given.length - at;
  }

  /** The connection has ended. Throws ResponseFault where the response has not. */
  finish(): void {
    if (this.isDone) return;
    if (this.body?.kind !== 'to-end') throw new ResponseFault('other side closed');
    this.isDone = true;
  }

  get content(): Buffer {
    return this.pieces.length === 1 ? (this.pieces[0] as Buffer) : Buffer.concat(this.pieces, this.size);
  }

  /** Offset behind the head, -1 where it is not whole. */
  private readHead(bytes: Buffer, from: number): number {
    const end = endOfHead(bytes, from);
    if (end < 0) return -1;
    const [first = '', ...lines] = bytes.toString('latin1', from, end).split('\n');
    const [, minor, status] = STATUS_LINE.exec(first.trimEnd()) ?? [];
    if (status === undefined) throw new ResponseFault('the answer is no HTTP/1.1');
    this.status = Number(status);
    this.headers = [];
    for (const line of lines) this.readLine(line.trimEnd());
    if (this.status === 101) throw new ResponseFault('the answer changes the protocol, which was not asked for');
    if (this.status < 200) return end; // the real one follows
    this.body = this.bodyOf();
    this.isDone = this.body.kind === 'none' || (this.body.kind === 'length' && this.body.length === 0);
    this.readKeepAlive(this.body, minor === '1');
    return end;
  }

  private readKeepAlive(body: Body, isUsual: boolean): void {
    const connection = this.header('connection')?.toLowerCase() ?? '';
    this.keepsAlive =
      body.kind !== 'to-end' && (isUsual ? !connection.includes('close') : connection.includes('keep-alive'));
    const seconds = /timeout=(\d+)/.exec(this.header('keep-alive') ?? '')?.[1];
    this.keepsAliveMs = seconds === undefined ? undefined : Number(seconds) * 1000;
  }

  private readLine(line: string): void {
    if (line === '') return;
    const colon = line.indexOf(':');
    if (colon < 1 || line.startsWith(' ') || line.startsWith('\t')) throw new ResponseFault('a header is none');
    this.headers.push(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }

  /** Of a header that comes more than once, all of them with commas. */
  private header(name: string): string | undefined {
    const values = this.headers.filter((_, i) => i % 2 === 1 && this.headers[i - 1] === name);
    return values.length === 0 ? undefined : values.join(', ');
  }

  private bodyOf(): Body {
    if (this.isHead || this.status === 204 || this.status === 304) return { kind: 'none' };
    const encoding = this.header('transfer-encoding');
    if (encoding !== undefined) {
      if (encoding.toLowerCase() !== 'chunked') throw new ResponseFault(`the transfer encoding is ${encoding}`);
      return { kind: 'chunked' };
    }
    const length = this.header('content-length');
    if (length === undefined) return { kind: 'to-end' };
    const [first = '', ...others] = length.split(', ');
    if (!/^\d+$/.test(first) || others.some((other) => other !== first)) {
      throw new ResponseFault(`the content length is "${length}"`);
    }
    this.allow(Number(first));
    return { kind: 'length', length: Number(first) };
  }

  /** Offset behind what was read of the body, -1 where a line is not whole. */
  private readBody(bytes: Buffer, from: number, body: Body): number {
    if (body.kind === 'chunked') return this.readChunk(bytes, from);
    const wanted = body.kind === 'length' ? body.length - this.size : Infinity;
    const to = Math.min(bytes.length, from + wanted);
    this.keep(bytes.subarray(from, to));
    this.isDone = body.kind === 'length' && this.size === body.length;
    return to;
  }

  private readChunk(bytes: Buffer, from: number): number {
    if (this.wanted !== undefined && this.wanted > 0) {
      const to = Math.min(bytes.length, from + this.wanted);
      this.keep(bytes.subarray(from, to));
      this.wanted -= to - from;
      return to;
    }
    const end = bytes.indexOf(LF, from);
    if (end < 0) return -1;
    const line = bytes.toString('latin1', from, end).trimEnd();
    if (this.wanted === -1) {
      this.isDone = line === '';
    } else if (this.wanted === 0) {
      if (line !== '') throw new ResponseFault('a chunk is longer than it says');
      this.wanted = undefined;
    } else {
      const size = /^([0-9a-f]{1,12})[ \t]*(?:;|$)/i.exec(line)?.[1];
      if (size === undefined) throw new ResponseFault('a chunk does not say its size');
      this.wanted = Number.parseInt(size, 16) || -1;
    }
    return end + 1;
  }

  private keep(piece: Buffer): void {
    this.size += piece.length;
    this.allow(this.size);
    this.pieces.push(Buffer.from(piece));
  }

  private allow(bytes: number): void {
    if (this.limit > 0 && bytes > this.limit) throw new ResponseFault('the answer of the app is too large');
  }
}

/** Offset behind the empty line that ends a head, -1 where there is none yet. */
function endOfHead(bytes: Buffer, from: number): number {
  const end = bytes.indexOf('\n\r\n', from, 'latin1');
  const bare = (end < 0 ? bytes : bytes.subarray(0, end + 1)).indexOf('\n\n', from, 'latin1');
  if (bare >= 0) return bare + 2;
  return end < 0 ? -1 : end + 3;
}
