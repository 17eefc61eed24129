/**
 * Record batches of version 2, as they are on the wire and on the brokers' disks. (kafkajs takes 18 us a record to
 * write one, this 2; and it loses the place where an emptied batch ends.)
 */

import { Reader, varintSize, writeVarint } from './bytes.ts';
import { crc32c } from './crc32c.ts';
import type { Codec } from './compression.ts';

/** What is stored of a message. `headers` are encoded, their number first. */
export interface OutboundRecord {
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Buffer;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
}

/** A record where it lies among others: thousands are in hand, so that views are made when somebody looks. */
export class InboundRecord {
  readonly offset: number;
  readonly timestamp: number;
  private readonly bytes: Buffer;
  private readonly start: number;
  private readonly keyAt: number;
  private readonly keyLength: number;
  private readonly valueAt: number;
  private readonly valueLength: number;
  private readonly end: number;

  /** The reader stands before the key; it is left at `end`. Throws RangeError where bytes go on behind it. */
  constructor(offset: number, timestamp: number, reader: Reader, end: number) {
    this.offset = offset;
    this.timestamp = timestamp;
    this.bytes = reader.bytes;
    this.start = reader.at;
    this.keyLength = reader.varint();
    this.keyAt = reader.at;
    reader.at += Math.max(0, this.keyLength);
    this.valueLength = reader.varint();
    this.valueAt = reader.at;
    this.end = end;
    if (this.headersAt > end || end > this.bytes.length) throw new RangeError('a record goes on behind its end');
    reader.at = end;
  }

  get key(): Buffer | null {
    return this.keyLength < 0 ? null : this.bytes.subarray(this.keyAt, this.keyAt + this.keyLength);
  }

  get value(): Buffer | null {
    return this.valueLength < 0 ? null : this.bytes.subarray(this.valueAt, this.headersAt);
  }

  /** As `OutboundRecord.headers`. */
  get headers(): Buffer {
    return this.bytes.subarray(this.headersAt, this.end);
  }

  get size(): number {
    return this.end - this.start;
  }

  /** The same in memory of its own, without the batch that it came in. */
  copy(): InboundRecord {
    const reader = new Reader(Buffer.from(this.bytes.subarray(this.start, this.end)));
    return new InboundRecord(this.offset, this.timestamp, reader, reader.left);
  }

  private get headersAt(): number {
    return this.valueAt + Math.max(0, this.valueLength);
  }
}

/** Who sends, so that a broker knows what it has already; id -1 for nobody. */
export interface Sender {
  readonly id: bigint;
  readonly epoch: number;
}

export const NOBODY: Sender = { id: -1n, epoch: -1 };

const HEAD = 61;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const CODEC_MASK = 7;
const LOG_APPEND_TIME = 8;
const CONTROL = 32;

const sizeOf = (bytes: Buffer | null): number => (bytes ? varintSize(bytes.length) + bytes.length : 1);

/** Bytes of a record in a batch, about. */
export const recordSize = ({ key, value, headers }: OutboundRecord): number =>
  (key?.length ?? 0) + (value?.length ?? 0) + headers.length + 20;

/** A batch. `sequence` is the number of its first record among those of the sender to the partition. */
export async function encodeBatch(
  records: readonly OutboundRecord[],
  sender: Sender,
  sequence: number,
  codec: Codec | undefined,
): Promise<Buffer> {
  const first = records[0]?.timestamp ?? 0;
  const plain = encodeRecords(records, first);
  const body = codec ? await codec.compress(plain.subarray(HEAD)) : undefined;
  const batch = body ? Buffer.concat([plain.subarray(0, HEAD), body]) : plain;
  batch.writeBigInt64BE(0n, 0);
  batch.writeInt32BE(batch.length - 12, 8);
  batch.writeInt32BE(-1, 12);
  batch.writeInt8(2, 16);
  batch.writeInt16BE(codec?.id ?? 0, ATTRIBUTES_AT);
  batch.writeInt32BE(records.length - 1, 23);
  batch.writeBigInt64BE(BigInt(first), 27);
  batch.writeBigInt64BE(BigInt(records.reduce((latest, { timestamp }) => Math.max(latest, timestamp), first)), 35);
  batch.writeBigInt64BE(sender.id, 43);
  batch.writeInt16BE(sender.epoch, 51);
  batch.writeInt32BE(sender.id < 0n ? -1 : sequence, 53);
  batch.writeInt32BE(records.length, 57);
  batch.writeUInt32BE(crc32c(batch, ATTRIBUTES_AT), CRC_AT);
  return batch;
}

/** The records behind room for the head. */
function encodeRecords(records: readonly OutboundRecord[], first: number): Buffer {
  const lengths = records.map(({ key, value, headers, timestamp }, index) => {
    const fixed = 1 + varintSize(timestamp - first) + varintSize(index);
    return fixed + sizeOf(key) + sizeOf(value) + headers.length;
  });
  const bytes = Buffer.allocUnsafe(lengths.reduce((sum, length) => sum + varintSize(length) + length, HEAD));
  let at = HEAD;
  records.forEach(({ key, value, headers, timestamp }, index) => {
    at = writeVarint(bytes, lengths[index] as number, at);
    bytes[at++] = 0;
    at = writeVarint(bytes, timestamp - first, at);
    at = writeVarint(bytes, index, at);
    at = writeBytes(bytes, key, at);
    at = writeBytes(bytes, value, at);
    at += headers.copy(bytes, at);
  });
  return bytes;
}

function writeBytes(bytes: Buffer, value: Buffer | null, at: number): number {
  const behind = writeVarint(bytes, value?.length ?? -1, at);
  return value ? behind + value.copy(bytes, behind) : behind;
}

/** What a fetch brought. `nextOffset` is behind all of it, also where there are no records any more. */
export interface Decoded {
  readonly records: InboundRecord[];
  readonly nextOffset: number;
}

/**
 * The records of batches one behind the other, from `from` on; the last batch may be cut off. Ends before a batch that
 * cannot be read: its bytes are damaged, compressed by a codec that `codecs` does not have, or of the format that ended
 * with Kafka 0.11. Rejects when it is the first.
 */
export async function decodeBatches(bytes: Buffer, from: number, codecs: (id: number) => Codec): Promise<Decoded> {
  const records: InboundRecord[] = [];
  let nextOffset = from;
  for (let at = 0; at + HEAD <= bytes.length;) {
    const length = 12 + bytes.readInt32BE(at + 8);
    const batch = bytes.subarray(at, at + length);
    if (batch.length < length) break;
    at += length;
    try {
      if (batch.readInt8(16) !== 2)
        throw new Error('the topic holds messages in the format that ended with Kafka 0.11');
      const end = Number(batch.readBigInt64BE(0)) + batch.readInt32BE(23) + 1;
      if (end <= nextOffset) continue;
      for (const record of await decodeBatch(batch, codecs)) if (record.offset >= from) records.push(record);
      nextOffset = end;
    } catch (error) {
      if (nextOffset > from) break;
      throw error;
    }
  }
  return { records, nextOffset };
}

/** The records of one batch; none of one that is about a transaction. */
async function decodeBatch(batch: Buffer, codecs: (id: number) => Codec): Promise<InboundRecord[]> {
  if (batch.readUInt32BE(CRC_AT) !== crc32c(batch, ATTRIBUTES_AT)) throw new Error('the check sum of a batch is wrong');
  const attributes = batch.readInt16BE(ATTRIBUTES_AT);
  if ((attributes & CONTROL) !== 0) return [];
  const base = Number(batch.readBigInt64BE(0));
  const [first, latest] = [Number(batch.readBigInt64BE(27)), Number(batch.readBigInt64BE(35))];
  const codec = attributes & CODEC_MASK;
  const body = batch.subarray(HEAD);
  const reader = new Reader(codec === 0 ? body : await codecs(codec).decompress(body));
  const records: InboundRecord[] = [];
  for (let left = batch.readInt32BE(57); left > 0; left--) {
    const length = reader.varint();
    const end = reader.at + length;
    reader.at++;
    const timestamp = first + reader.varint();
    const offset = base + reader.varint();
    records.push(new InboundRecord(offset, attributes & LOG_APPEND_TIME ? latest : timestamp, reader, end));
  }
  return records;
}
