/** Strings, as UTF-8, and bytes one after the other in memory of their own. */
export function concat(parts: readonly (string | Uint8Array)[]): Buffer {
  let size = 0;
  for (const part of parts) size += typeof part === 'string' ? Buffer.byteLength(part) : part.length;
  const bytes = Buffer.allocUnsafe(size);
  let offset = 0;
  for (const part of parts) {
    if (typeof part === 'string') {
      offset += bytes.write(part, offset);
    } else {
      bytes.set(part, offset);
      offset += part.length;
    }
  }
  return bytes;
}
