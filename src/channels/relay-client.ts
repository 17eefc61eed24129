/** Calls of the app that are passed on as bytes: streams of node:http2 on one connection, redialled when it is gone. */

import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { PROBE_AFTER_MS } from './app-client.ts';
import { letGo } from './framing.ts';
import type { CallMetadata } from './grpc-client.ts';

const { HTTP2_HEADER_METHOD, HTTP2_HEADER_PATH, HTTP2_HEADER_TE } = constants;
const DIAL_TIMEOUT_MS = 20_000;
/** What somebody's metadata names twice must not cost the call, so such names go out twice. */
const CONNECT = { rejectUnauthorized: false, strictSingleValueFields: false };

export class RelayClient {
  private readonly authority: string;
  private readonly idleMs: number;
  private session: ClientHttp2Session | undefined;
  private resting: NodeJS.Timeout | undefined;
  private inHand = 0;

  /** `authority` is `http://host:port` or `https://host:port`; a connection without calls for `idleMs` is closed. */
  constructor(authority: string, idleMs: number) {
    this.authority = authority;
    this.idleMs = idleMs;
  }

  /** A call whose `content-type` is among the metadata; `signal` resets it. */
  open(path: string, metadata: CallMetadata, signal: AbortSignal): ClientHttp2Stream {
    const headers = [HTTP2_HEADER_PATH, path, HTTP2_HEADER_METHOD, 'POST', HTTP2_HEADER_TE, 'trailers', ...metadata];
    const stream = this.connection().request(headers, { signal });
    clearTimeout(this.resting);
    this.inHand++;
    stream.once('close', () => {
      letGo(stream);
      if (--this.inHand === 0) this.rest();
    });
    return stream;
  }

  private rest(): void {
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.session?.close(), this.idleMs).unref();
  }

  /** Ends the connection and what is on it. */
  close(): void {
    clearTimeout(this.resting);
    this.session?.destroy();
  }

  private connection(): ClientHttp2Session {
    if (this.session && !this.session.closed && !this.session.destroyed) return this.session;
    const session = connect(this.authority, CONNECT);
    const dialTimer = setTimeout(() => session.destroy(new Error('connection timed out')), DIAL_TIMEOUT_MS);
    session.once('connect', (_, socket) => {
      clearTimeout(dialTimer);
      socket.setKeepAlive(true, PROBE_AFTER_MS);
    });
    session.on('error', () => undefined); // every call on it hears of it
    const retire = (): void => {
      if (this.session === session) this.session = undefined;
    };
    session.once('goaway', retire);
    session.once('close', () => {
      clearTimeout(dialTimer);
      retire();
    });
    session.setMaxListeners(0);
    this.session = session;
    this.rest(); // a call may be refused before it is one
    return session;
  }
}
