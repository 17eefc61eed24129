/** What clients tell the sidecar of itself, by key (contract 12.4). Bounded: every answer about the sidecar has all of it. */

import { SidecarError } from './errors.ts';

const MAX_KEYS = 256;
/** Of all keys and values, in bytes of UTF-8. */
const MAX_BYTES = 256 * 1024;

const bytesOf = (key: string, value: string): number => Buffer.byteLength(key) + Buffer.byteLength(value);

export class CustomMetadata {
  private readonly values = new Map<string, string>();
  private bytes = 0;

  get entries(): ReadonlyMap<string, string> {
    return this.values;
  }

  /** Throws `metadata-full`; then the key has what it had. */
  set(key: string, value: string): void {
    const before = this.values.get(key);
    if (before === undefined && this.values.size >= MAX_KEYS)
      throw full(`it has ${MAX_KEYS} keys, the most there may be`);
    const bytes = this.bytes + bytesOf(key, value) - (before === undefined ? 0 : bytesOf(key, before));
    if (bytes > MAX_BYTES)
      throw full(`its keys and values may have ${MAX_BYTES} bytes, with this one they have ${bytes}`);
    this.values.set(key, value);
    this.bytes = bytes;
  }
}

const full = (why: string): SidecarError => new SidecarError('metadata-full', `the metadata is not set: ${why}`);
