/** A call to the app that is no event: service invocation, as far as it needs no other sidecar. */

import type { ClientHttp2Stream } from 'node:http2';
import { SidecarError } from './errors.ts';
import type { Trace } from './trace.ts';

export interface Invocation {
  /** The app that is meant. */
  readonly id: string;
  /** A method of HTTP. */
  readonly verb: string;
  /** What is called; for an app over HTTP its path, with or without the leading slash. */
  readonly method: string;
  /** Without the question mark. */
  readonly query: string;
  /** Empty: none. */
  readonly contentType: string;
  /** Flat list of names, in lower case, and values. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  /** What the body is a message of, empty for plain bytes. Only gRPC has it. */
  readonly typeUrl: string;
  readonly trace: Trace;
}

/** What the app answered. */
export interface Invoked {
  /** An HTTP status. */
  readonly status: number;
  readonly contentType: string;
  /** As those of the call; hop by hop ones are left out. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
  readonly typeUrl: string;
}

/** Rejects with a SidecarError when the app cannot be called, with RefusedByApp when it says no in gRPC. */
export type Invoke = (call: Invocation, signal: AbortSignal) => Promise<Invoked>;

/** A call of a service of the app's own, which goes on as the bytes that it is. */
export interface RelayedCall {
  /** The app that is meant. */
  readonly id: string;
  /** `/package.Service/Method`. */
  readonly path: string;
  /** Flat list of names, in lower case, and values: the call's own, without pseudo headers and `te`. */
  readonly headers: readonly string[];
}

/** Begins the call at the app; `signal` ends it. Throws a SidecarError when the app cannot be called. */
export type Relay = (call: RelayedCall, signal: AbortSignal) => ClientHttp2Stream;

export const invokeFailed = (id: string, reason: string, cause?: unknown): SidecarError =>
  new SidecarError('invoke-failed', `failed to invoke, id: ${id}, err: ${reason}`, { cause });

/** How much of an app's own words goes into the details of an error, as in Dapr. */
const MAX_SAID = 64;

/** The app's own refusal: its code and not one of ours goes to the caller. */
export class RefusedByApp extends SidecarError {
  private readonly own: Partial<SidecarError['row']>;

  /** `body`: what an app over HTTP said, for a caller over gRPC. */
  constructor(message: string, codes: { readonly grpc: number; readonly http: number }, body?: Uint8Array) {
    const said = body && Buffer.from(body.subarray(0, MAX_SAID)).toString('utf8');
    const info = said === undefined ? {} : { 'http.code': String(codes.http), 'http.error_message': said };
    super('invoke-failed', message, { info });
    this.own = { ...codes, category: '', ...(said !== undefined && { reason: message, resource: false }) };
  }

  override get row(): SidecarError['row'] {
    return { ...super.row, ...this.own };
  }
}
