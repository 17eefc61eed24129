/** Header fields of HTTP/2 as bytes (RFC 7541). Names and values are strings of one byte a character. */

/** Bytes that each entry of a table counts beside its name and value. */
const ENTRY_BYTES = 32;
/** What either side keeps as long as nothing else was agreed. */
export const DEFAULT_TABLE_BYTES = 4096;

/** Appendix A: `name` or `name=value`, in order. */
const STATIC = (
  ':authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|' +
  ':status=206|:status=304|:status=400|:status=404|:status=500|accept-charset|accept-encoding=gzip, deflate|' +
  'accept-language|accept-ranges|accept|access-control-allow-origin|age|allow|authorization|cache-control|' +
  'content-disposition|content-encoding|content-language|content-length|content-location|content-range|content-type|' +
  'cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|if-none-match|if-range|if-unmodified-since|' +
  'last-modified|link|location|max-forwards|proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|' +
  'server|set-cookie|strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate'
)
  .split('|')
  .map((entry) => /^(:?[^=]+)=?(.*)$/.exec(entry)?.slice(1) as [string, string]);
const STATIC_INDEX = new Map(STATIC.map(([name, value], i) => [`${name}=${value}`, i + 1]));

/** Appendix B: how many bits each byte's code has, in base 36; the last is that of the end. The codes are in order. */
const CODE_LENGTHS =
  'dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad677777777777777777777' +
  '77878djde6f56565666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmo' +
  'lmnnllmlnmnnkmmmnmmnqqkjmnmpqqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu';
const MAX_CODE_BITS = 30;
const END = 256;
/** The bytes whose code is so long. */
const symbols = Array.from({ length: MAX_CODE_BITS + 1 }, (_, bits) =>
  [...CODE_LENGTHS].flatMap((length, symbol) => (parseInt(length, 36) === bits ? [symbol] : [])),
);
const firstCodes = symbols.reduce<number[]>((first, _, bits) => {
  const before = bits - 1;
  return [...first, bits === 0 ? 0 : ((first[before] as number) + (symbols[before]?.length ?? 0)) * 2];
}, []);

const INDEXED = 0x80;
const ADDED = 0x40;
const TABLE_SIZE = 0x20;
const HUFFMAN = 0x80;
/** Of what is shorter than 256 MiB. */
const MAX_INTEGER_BYTES = 5;

export class HpackError extends Error {}

/** Reads the header blocks of a connection, each of which must pass through it. */
export class HeaderDecoder {
  private readonly maxBytes: number;
  /** The newest at the end. */
  private readonly table: (readonly [name: string, value: string])[] = [];
  private tableBytes = 0;
  private tableLimit = DEFAULT_TABLE_BYTES;
  private bytes: Buffer = Buffer.alloc(0);
  private at = 0;

  /** `maxBytes` of all names and values of a block. */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /**
   * Names and values in turn; undefined where they are larger than may be. Throws HpackError, after which the connection
   * cannot be read any more.
   */
  decode(block: Buffer): string[] | undefined {
    const fields: string[] = [];
    let size = 0;
    this.bytes = block;
    this.at = 0;
    while (this.at < block.length) {
      const first = block[this.at] as number;
      if (first >= TABLE_SIZE && first < ADDED) {
        this.resize(this.integer(5));
        continue;
      }
      const [name, value] = this.field(first);
      size += name.length + value.length;
      if (size <= this.maxBytes) fields.push(name, value);
    }
    return size <= this.maxBytes ? fields : undefined;
  }

  private field(first: number): readonly [name: string, value: string] {
    if (first >= INDEXED) return this.entry(this.integer(7));
    const isAdded = first >= ADDED;
    const index = this.integer(isAdded ? 6 : 4);
    const field = [index === 0 ? this.text() : this.entry(index)[0], this.text()] as const;
    if (isAdded) this.add(field);
    return field;
  }

  private entry(index: number): readonly [name: string, value: string] {
    const entry = index <= STATIC.length ? STATIC[index - 1] : this.table[this.table.length - index + STATIC.length];
    if (!entry) throw new HpackError(`no header has the index ${index}`);
    return entry;
  }

  private add(field: readonly [name: string, value: string]): void {
    this.table.push(field);
    this.tableBytes += sizeOf(field);
    this.evict();
  }

  private resize(limit: number): void {
    if (limit > DEFAULT_TABLE_BYTES) throw new HpackError(`a table of ${limit} bytes was not agreed`);
    this.tableLimit = limit;
    this.evict();
  }

  private evict(): void {
    while (this.tableBytes > this.tableLimit) this.tableBytes -= sizeOf(this.table.shift() as [string, string]);
  }

  private integer(bits: number): number {
    const most = (1 << bits) - 1;
    let value = this.byte() & most;
    if (value < most) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError('a number is too large');
  }

  private text(): string {
    const isCoded = ((this.bytes[this.at] ?? 0) & HUFFMAN) !== 0;
    const start = this.integer(7) + this.at;
    const [from, to] = [this.at, start];
    if (to > this.bytes.length) throw new HpackError('a header block ends within a header');
    this.at = to;
    return isCoded ? uncoded(this.bytes.subarray(from, to)) : this.bytes.toString('latin1', from, to);
  }

  private byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new HpackError('a header block ends within a header');
    return byte;
  }
}

/** Writes the header blocks of a connection, in the order in which they leave. */
export class HeaderEncoder {
  /** Fields that the other side remembers, with the number each was given. */
  private readonly known = new Map<string, number>();
  private tableBytes = DEFAULT_TABLE_BYTES;
  private used = 0;
  private begun = false;

  /** The other side remembers no more than so much. False where that comes too late, after headers were written. */
  limit(tableBytes: number): boolean {
    if (tableBytes >= this.tableBytes) return true;
    this.tableBytes = tableBytes;
    return !this.begun;
  }

  /** How many fields the other side remembers. While that stays, `lasting` makes the same bytes of the same fields. */
  get remembered(): number {
    return this.known.size;
  }

  /** Fields that will come again: they are remembered as long as there is room. Names and values in turn. */
  lasting(fields: readonly string[]): Buffer {
    const bytes = Buffer.alloc(MAX_INTEGER_BYTES + literalBytes(fields));
    let end = 0;
    if (this.tableBytes < DEFAULT_TABLE_BYTES) end = writeInteger(bytes, end, TABLE_SIZE, 5, this.tableBytes);
    this.begun = true;
    for (let i = 0; i < fields.length; i += 2)
      end = this.write(bytes, end, fields[i] as string, fields[i + 1] as string);
    return bytes.subarray(0, end);
  }

  private write(bytes: Buffer, at: number, name: string, value: string): number {
    const key = `${name}=${value}`;
    const number = this.known.get(key);
    const index = STATIC_INDEX.get(key) ?? (number === undefined ? 0 : STATIC.length + this.known.size - number);
    if (index > 0) return writeInteger(bytes, at, INDEXED, 7, index);
    const end = writeLiterals(bytes, at, [name, value]);
    const size = sizeOf([name, value]);
    if (this.used + size > this.tableBytes) return end;
    this.used += size;
    this.known.set(key, this.known.size);
    bytes[at] = ADDED;
    return end;
  }
}

/** Fields that nobody remembers, names and values in turn: written at `at`, where `literalBytes` are free. Returns the end. */
export function writeLiterals(bytes: Buffer, at: number, fields: readonly string[]): number {
  let end = at;
  for (let i = 0; i < fields.length; i++) {
    const text = fields[i] as string;
    if (i % 2 === 0) bytes[end++] = 0;
    end = writeInteger(bytes, end, 0, 7, text.length);
    end += bytes.write(text, end, 'latin1');
  }
  return end;
}

/** What such fields take at most. */
export function literalBytes(fields: readonly string[]): number {
  let size = 0;
  for (const text of fields) size += text.length + 1 + MAX_INTEGER_BYTES;
  return size;
}

function writeInteger(bytes: Buffer, at: number, flags: number, bits: number, value: number): number {
  const most = (1 << bits) - 1;
  let end = at;
  if (value < most) {
    bytes[end++] = flags | value;
    return end;
  }
  bytes[end++] = flags | most;
  let rest = value - most;
  for (; rest > 0x7f; rest >>>= 7) bytes[end++] = (rest & 0x7f) | 0x80;
  bytes[end++] = rest;
  return end;
}

const sizeOf = ([name, value]: readonly [string, string]): number => ENTRY_BYTES + name.length + value.length;

/** The bytes of Huffman's code, read bit by bit: what comes coded is short, and mostly remembered. */
function uncoded(bytes: Buffer): string {
  const text: number[] = [];
  let [code, bits] = [0, 0];
  for (const byte of bytes) {
    for (let mask = 0x80; mask > 0; mask >>= 1) {
      code = code * 2 + ((byte & mask) === 0 ? 0 : 1);
      const symbol = symbols[++bits]?.[code - (firstCodes[bits] as number)];
      if (symbol === undefined && bits < MAX_CODE_BITS) continue;
      if (symbol === undefined || symbol === END) throw new HpackError('a header is coded wrongly');
      text.push(symbol);
      [code, bits] = [0, 0];
    }
  }
  if (bits > 7 || code !== (1 << bits) - 1) throw new HpackError('a header is coded wrongly');
  return Buffer.from(text).toString('latin1');
}
