/** Which partition a key belongs to. Whoever writes to a topic has to agree, or the order of a key is lost. */

import { crc32 } from 'node:zlib';
import type { KafkaSettings } from './settings.ts';

/** A number from 0 up to `count`, without it. */
export type Partitioner = (key: Buffer, count: number) => number;

/** Sarama's hash partitioner, which Dapr uses: FNV-1a as a signed number, the remainder's absolute value. */
function sarama(key: Buffer, count: number): number {
  let hash = 0x811c9dc5;
  for (const byte of key) hash = Math.imul(hash ^ byte, 0x01000193);
  return Math.abs((hash | 0) % count);
}

/** That of the Java client. */
function murmur2(key: Buffer, count: number): number {
  const M = 0x5bd1e995;
  let hash = 0x9747b28c ^ key.length;
  let at = 0;
  for (; at + 4 <= key.length; at += 4) {
    let part = Math.imul(key.readInt32LE(at), M);
    part = Math.imul(part ^ (part >>> 24), M);
    hash = Math.imul(hash, M) ^ part;
  }
  const rest = key.length - at;
  if (rest >= 3) hash ^= (key[at + 2] as number) << 16;
  if (rest >= 2) hash ^= (key[at + 1] as number) << 8;
  if (rest >= 1) hash = Math.imul(hash ^ (key[at] as number), M);
  hash = Math.imul(hash ^ (hash >>> 13), M);
  return ((hash ^ (hash >>> 15)) & 0x7fffffff) % count;
}

export const PARTITIONERS: Readonly<Record<KafkaSettings['partitioner'], Partitioner>> = {
  sarama,
  murmur2,
  crc32: (key, count) => crc32(key) % count,
};
