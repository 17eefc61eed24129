/** Request bodies, read whole and never past the limit. */

import type { IncomingMessage } from 'node:http';

/** The body is larger than allowed. Worded as Dapr words it. */
export class BodyTooLarge extends Error {
  constructor() {
    super('stream too large');
  }
}

const EMPTY = Buffer.alloc(0);

/** Resolves with the body; rejects with BodyTooLarge as soon as more than `limit` bytes came (0: no limit), or when the client goes away. */
export function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (limit > 0 && size > limit) {
        request.removeAllListeners('data').resume();
        reject(new BodyTooLarge());
      } else {
        chunks.push(chunk);
      }
    });
    request.on('end', () => {
      resolve(chunks.length < 2 ? (chunks[0] ?? EMPTY) : Buffer.concat(chunks, size));
      // The request lives as long as its answer is not there, its pieces need not.
      chunks = [];
    });
    request.on('error', reject);
  });
}
