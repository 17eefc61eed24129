/** Reading and writing the numbers of Kafka's protocol. */

/** Bytes that a zigzag varint of a whole number takes. */
export function varintSize(value: number): number {
  let rest = value >= 0 ? value * 2 : -value * 2 - 1;
  let size = 1;
  while (rest >= 128) {
    rest = Math.floor(rest / 128);
    size++;
  }
  return size;
}

/** Writes a zigzag varint; gives the place behind it. */
export function writeVarint(bytes: Buffer, value: number, at: number): number {
  return writeUvarint(bytes, value >= 0 ? value * 2 : -value * 2 - 1, at);
}

function writeUvarint(bytes: Buffer, rest: number, at: number): number {
  while (rest >= 128) {
    bytes[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  bytes[at++] = rest;
  return at;
}

/** Reads one number after the other. Throws RangeError behind the end. */
export class Reader {
  readonly bytes: Buffer;
  at: number;

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  int8(): number {
    return this.bytes.readInt8(this.move(1));
  }

  int16(): number {
    return this.bytes.readInt16BE(this.move(2));
  }

  int32(): number {
    return this.bytes.readInt32BE(this.move(4));
  }

  /** Offsets and times: exact up to 2^53. */
  int64(): number {
    const at = this.move(8);
    return this.bytes.readInt32BE(at) * 2 ** 32 + this.bytes.readUInt32BE(at + 4);
  }

  varint(): number {
    const value = this.uvarint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  uvarint(): number {
    let value = 0;
    let factor = 1;
    for (;;) {
      const byte = this.bytes[this.at++];
      if (byte === undefined) throw new RangeError('a number goes on behind the end');
      value += (byte & 127) * factor;
      if (byte < 128) break;
      factor *= 128;
    }
    return value;
  }

  /** A view, not a copy. */
  slice(length: number): Buffer {
    const at = this.move(length);
    if (this.at > this.bytes.length) throw new RangeError('bytes go on behind the end');
    return this.bytes.subarray(at, this.at);
  }

  /** Text with a length of two bytes, null for -1. */
  text(): string | null {
    const length = this.int16();
    return length < 0 ? null : this.slice(length).toString('utf8');
  }

  /** Bytes with a length of four bytes; none for -1. */
  block(): Buffer {
    return this.slice(Math.max(0, this.int32()));
  }

  list<T>(read: () => T): T[] {
    return Array.from({ length: Math.max(0, this.int32()) }, read);
  }

  /** Text of the newer requests, null for none. */
  compactText(): string | null {
    const length = this.uvarint() - 1;
    return length < 0 ? null : this.slice(length).toString('utf8');
  }

  /** Bytes of the newer requests; none for null. */
  compactBlock(): Buffer {
    return this.slice(Math.max(0, this.uvarint() - 1));
  }

  compactList<T>(read: () => T): T[] {
    return Array.from({ length: Math.max(0, this.uvarint() - 1) }, read);
  }

  /** What newer brokers add to an answer. */
  skipTags(): void {
    for (let left = this.uvarint(); left > 0; left--) {
      this.uvarint();
      this.slice(this.uvarint());
    }
  }

  private move(length: number): number {
    const { at } = this;
    this.at += length;
    return at;
  }
}

/** Gathers numbers and bytes. */
export class Writer {
  private bytes: Buffer;
  private at = 0;

  /** `expected`: bytes that will be needed, about. */
  constructor(expected = 256) {
    this.bytes = Buffer.allocUnsafe(expected);
  }

  int8(value: number): this {
    this.at = this.room(1).writeInt8(value, this.at);
    return this;
  }

  int16(value: number): this {
    this.at = this.room(2).writeInt16BE(value, this.at);
    return this;
  }

  int32(value: number): this {
    this.at = this.room(4).writeInt32BE(value, this.at);
    return this;
  }

  /** Offsets: exact up to 2^53. */
  int64(value: number): this {
    this.at = this.room(8).writeBigInt64BE(BigInt(value), this.at);
    return this;
  }

  varint(value: number): this {
    this.at = writeVarint(this.room(10), value, this.at);
    return this;
  }

  uvarint(value: number): this {
    this.at = writeUvarint(this.room(10), value, this.at);
    return this;
  }

  /** Text of the newer requests. */
  compactText(value: string): this {
    const bytes = Buffer.from(value);
    return this.uvarint(bytes.length + 1).append(bytes);
  }

  /** Newer requests have room for additions everywhere. */
  noTags(): this {
    return this.uvarint(0);
  }

  text(value: string | null): this {
    if (value === null) return this.int16(-1);
    const size = Buffer.byteLength(value);
    this.int16(size);
    this.at += this.room(size).write(value, this.at, 'utf8');
    return this;
  }

  block(value: Buffer): this {
    return this.int32(value.length).append(value);
  }

  append(value: Buffer): this {
    value.copy(this.room(value.length), this.at);
    this.at += value.length;
    return this;
  }

  list<T>(values: readonly T[], write: (value: T) => void): this {
    this.int32(values.length);
    values.forEach(write);
    return this;
  }

  get length(): number {
    return this.at;
  }

  done(): Buffer {
    return this.bytes.subarray(0, this.at);
  }

  private room(size: number): Buffer {
    if (this.at + size > this.bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.at + size));
      this.bytes.copy(larger, 0, 0, this.at);
      this.bytes = larger;
    }
    return this.bytes;
  }
}
