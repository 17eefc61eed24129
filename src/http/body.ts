/** Request bodies, read whole and never past the limits. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServerHttp2Stream } from 'node:http2';
import { messageOf, SidecarError } from '../core/errors.ts';
import type { MemoryBudget, Waiting } from '../lib/memory-budget.ts';

/** The body is larger than allowed. Worded as Dapr words it. */
export class BodyTooLarge extends Error {
  constructor() {
    super('stream too large');
  }
}

export interface BodyLimits {
  /** Of one body; 0: no limit. */
  readonly maxBodyBytes: number;
  readonly budget: MemoryBudget;
}

const EMPTY = Buffer.alloc(0);
const OVERLOADED = 'requests that are not whole or in hand take all the memory that there is for them';

/**
 * Hands over the body, which the budget counts until `use` is done. `refuse` throws what it is to the client that it
 * cannot be read: BodyTooLarge as soon as more came than may, a SidecarError where there is no room, or the client is gone.
 */
export async function withBody<T>(
  request: IncomingMessage,
  limits: BodyLimits,
  refuse: (error: unknown) => never,
  use: (body: Buffer) => T | Promise<T>,
): Promise<T> {
  const body = await readBody(request, limits).catch(refuse);
  try {
    return await use(body);
  } finally {
    limits.budget.keep(-body.length);
  }
}

/** The budget goes on counting the body. */
function readBody(request: IncomingMessage, { maxBodyBytes, budget }: BodyLimits): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = [];
    let size = 0;
    let waiting: Waiting | undefined;
    const end = (): void => {
      if (waiting) budget.forget(waiting);
      // The request lives as long as its answer is not there, its pieces need not.
      chunks = [];
      size = 0;
    };
    const stop = (error: Error): void => {
      request.removeAllListeners('data').resume();
      budget.keep(-size);
      end();
      reject(error);
    };
    const giveUp = (): void => stop(new SidecarError('overloaded', OVERLOADED));
    request.on('data', (chunk: Buffer) => {
      if (maxBodyBytes > 0 && size + chunk.length > maxBodyBytes) return stop(new BodyTooLarge());
      chunks.push(chunk);
      size += chunk.length;
      if (!waiting && size !== Number(request.headers['content-length'])) budget.await((waiting = { giveUp }));
      if (!budget.keep(chunk.length) && size > 0) giveUp();
    });
    request.on('end', () => {
      resolve(chunks.length < 2 ? (chunks[0] ?? EMPTY) : Buffer.concat(chunks, size));
      end();
    });
    request.on('error', stop);
    // There what is broken off is no error, and mostly ends as if it were whole.
    if (request.httpVersionMajor >= 2) request.on('aborted', () => stop(new Error('aborted')));
  });
}

/** Throws what a body that could not be read is to its client, where the method has no words of its own. */
export function unreadable(error: unknown): never {
  if (error instanceof SidecarError) throw error;
  throw new SidecarError('body-unreadable', `failed to read request body: ${messageOf(error)}`);
}

/** Counts a long answer until its client has read it; where others need the memory the connection goes with it. */
export function keepUntilRead(response: ServerResponse, bytes: number, budget: MemoryBudget): void {
  if (isGone(response)) return;
  let kept = bytes;
  const release = (): void => {
    budget.forget(waiting);
    budget.keep(-kept);
    kept = 0;
  };
  const giveUp = (): void => {
    response.destroy();
    release();
  };
  const waiting: Waiting = { giveUp };
  response.once('close', release);
  budget.await(waiting);
  budget.keep(bytes);
}

const isGone = (response: ServerResponse & { stream?: ServerHttp2Stream }): boolean =>
  response.destroyed || response.stream?.destroyed === true; // of HTTP/1.1, of HTTP/2
