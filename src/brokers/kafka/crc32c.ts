/** CRC-32C (Castagnoli), the check sum of record batches, eight bytes at a time. */

const POLYNOMIAL = 0x82f63b78;

/** Eight tables, one behind the other: what a byte does that is so many bytes away from the end. */
const TABLES = ((): Uint32Array => {
  const tables = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
    tables[byte] = value;
  }
  for (let index = 256; index < tables.length; index++) {
    const before = tables[index - 256] as number;
    tables[index] = (before >>> 8) ^ (tables[before & 0xff] as number);
  }
  return tables;
})();

/** Of `bytes` from `start` on, as an unsigned number. */
export function crc32c(bytes: Uint8Array, start = 0): number {
  const t = TABLES as unknown as { readonly [index: number]: number };
  const b = bytes as unknown as { readonly [index: number]: number };
  const end = bytes.length;
  let crc = ~0;
  let at = start;
  for (; at + 8 <= end; at += 8) {
    crc ^= b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24);
    crc =
      t[1792 + (crc & 0xff)]! ^
      t[1536 + ((crc >>> 8) & 0xff)]! ^
      t[1280 + ((crc >>> 16) & 0xff)]! ^
      t[1024 + (crc >>> 24)]! ^
      t[768 + b[at + 4]!]! ^
      t[512 + b[at + 5]!]! ^
      t[256 + b[at + 6]!]! ^
      t[b[at + 7]!]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ t[(crc ^ b[at]!) & 0xff]!;
  return ~crc >>> 0;
}
