/** What the calls that are open cost, and which connection is to end for it. */

import { constants, type ServerHttp2Session } from 'node:http2';

/** Of a stream and its call, beside what its headers say. */
const CALL_BYTES = 4096;

/** The calls of all connections of a server, by what they take of memory in bytes. */
export class Load {
  private readonly maxBytes: number;
  private readonly open = new Map<ServerHttp2Session, number>();
  private total = 0;

  /** Of all calls. Past that the connection whose calls take the most ends. */
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  /** A call begins. Gives back what is to be told at its end. */
  begin(session: ServerHttp2Session, rawHeaders: readonly string[]): number {
    let bytes = CALL_BYTES;
    for (const text of rawHeaders) bytes += text.length;
    this.add(session, bytes);
    if (this.total > this.maxBytes) this.shed();
    return bytes;
  }

  /** Whether a connection has a call. */
  has(session: ServerHttp2Session): boolean {
    return this.open.has(session);
  }

  add(session: ServerHttp2Session, bytes: number): void {
    this.total += bytes;
    const sum = (this.open.get(session) ?? 0) + bytes;
    if (sum > 0) this.open.set(session, sum);
    else this.open.delete(session);
  }

  private shed(): void {
    let heaviest: ServerHttp2Session | undefined;
    let most = 0;
    for (const [session, bytes] of this.open) if (bytes > most) [heaviest, most] = [session, bytes];
    if (heaviest) calm(heaviest);
  }
}

/** Ends a connection with GOAWAY: its client asks too much. */
export function calm(session: ServerHttp2Session): void {
  session.destroy(new Error('the client asks too much'), constants.NGHTTP2_ENHANCE_YOUR_CALM);
}

/** Counts what may come in a burst, and then at a rate. */
export class RateLimit {
  private readonly burst: number;
  private readonly perMs: number;
  private left: number;
  private at = performance.now();

  constructor(burst: number, perSecond: number) {
    this.burst = burst;
    this.left = burst;
    this.perMs = perSecond / 1000;
  }

  /** One more. False: that was too many. */
  take(): boolean {
    const now = performance.now();
    this.left = Math.min(this.burst, this.left + (now - this.at) * this.perMs) - 1;
    this.at = now;
    return this.left >= 0;
  }
}
