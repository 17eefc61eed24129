/** The codecs of record batches, loaded when the first batch wants one. */

import { promisify } from 'node:util';
import { gunzip, gzip, zstdCompress, zstdDecompress } from 'node:zlib';

export interface Codec {
  /** As in the attributes of a batch. */
  readonly id: number;
  compress(bytes: Buffer): Promise<Buffer>;
  decompress(bytes: Buffer): Promise<Buffer>;
}

/** A batch that claims to be larger than this is damaged or hostile. */
const MAX_BYTES = 256 * 2 ** 20;
const limit = { maxOutputLength: MAX_BYTES };

const GZIP: Codec = {
  id: 1,
  compress: promisify<Buffer, Buffer>(gzip),
  decompress: (bytes) => promisify(gunzip)(bytes, limit) as Promise<Buffer>,
};

/** Snappy in the blocks of the Java client, which all others write too; bare as well when reading. */
const SNAPPY: Codec = {
  id: 2,
  async compress(bytes) {
    const { compress } = await loadSnappy();
    const parts: Buffer[] = [XERIAL];
    for (let at = 0; at < bytes.length; at += SNAPPY_BLOCK) {
      const block = compress(bytes.subarray(at, at + SNAPPY_BLOCK));
      const length = Buffer.alloc(4);
      length.writeInt32BE(block.length);
      parts.push(length, block);
    }
    return Buffer.concat(parts);
  },
  async decompress(bytes) {
    const { uncompress } = await loadSnappy();
    if (!bytes.subarray(0, 8).equals(XERIAL.subarray(0, 8))) return uncompress(bytes, MAX_BYTES);
    const parts: Buffer[] = [];
    for (let at = XERIAL.length; at < bytes.length;) {
      const length = bytes.readInt32BE(at);
      parts.push(uncompress(bytes.subarray(at + 4, at + 4 + length), MAX_BYTES));
      at += 4 + length;
    }
    return Buffer.concat(parts);
  },
};

const SNAPPY_BLOCK = 32 * 1024;
const XERIAL = Buffer.from('82534e41505059000000000100000001', 'hex');

/** Independent blocks of 64 KiB: the Java client takes no others. */
const LZ4: Codec = {
  id: 3,
  async compress(bytes) {
    const { compressBlock } = await loadLz4();
    const parts: Buffer[] = [LZ4_HEAD];
    for (let at = 0; at < bytes.length; at += LZ4_BLOCK) {
      const block = bytes.subarray(at, at + LZ4_BLOCK);
      const room = Buffer.alloc(block.length + Math.ceil(block.length / 255) + 16);
      const size = compressBlock(block, room, 0, block.length, new Uint32Array(65_536));
      const isSmaller = size > 0 && size < block.length;
      const length = Buffer.alloc(4);
      length.writeUInt32LE(isSmaller ? size : block.length + 2 ** 31);
      parts.push(length, isSmaller ? room.subarray(0, size) : block);
    }
    return Buffer.concat([...parts, Buffer.alloc(4)]);
  },
  async decompress(bytes) {
    const { decompressBound, decompress } = await loadLz4();
    if (decompressBound(bytes) > MAX_BYTES) throw new Error('a batch is too large');
    return Buffer.from(decompress(bytes));
  },
};

const LZ4_BLOCK = 64 * 1024;
const LZ4_HEAD = Buffer.from('04224d18604082', 'hex');

const ZSTD: Codec = {
  id: 4,
  compress: promisify<Buffer, Buffer>(zstdCompress),
  decompress: (bytes) => promisify(zstdDecompress)(bytes, limit) as Promise<Buffer>,
};

export const CODECS = { none: undefined, gzip: GZIP, snappy: SNAPPY, lz4: LZ4, zstd: ZSTD } as const;

/** Throws for a codec that does not exist. */
export function codecOf(id: number): Codec {
  const found = Object.values(CODECS).find((codec) => codec?.id === id);
  if (!found) throw new Error(`a batch is compressed in an unknown way (${id})`);
  return found;
}

interface Snappy {
  compress(bytes: Buffer): Buffer;
  uncompress(bytes: Buffer, maxLength: number): Buffer;
}

interface Lz4 {
  /** Gives the bytes written to `room`, 0 when nothing can be saved. */
  compressBlock(bytes: Uint8Array, room: Uint8Array, from: number, length: number, table: Uint32Array): number;
  decompressBound(bytes: Uint8Array): number;
  decompress(bytes: Uint8Array): Uint8Array;
}

async function loadSnappy(): Promise<Snappy> {
  // @ts-expect-error the package has no types
  const loaded = (await import('snappyjs')) as { default: Snappy };
  return loaded.default;
}

async function loadLz4(): Promise<Lz4> {
  // @ts-expect-error the package has no types
  const loaded = (await import('lz4js')) as { default: Lz4 };
  return loaded.default;
}
