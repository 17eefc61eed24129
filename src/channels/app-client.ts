/** How requests get to an app over HTTP, whichever version of it the app speaks. */

/** Open at once; what is more waits. */
export const MAX_CONNECTIONS = 1024;
/** After so long without a word systems ask each other whether they are still there: the app itself may be busy for hours. */
export const PROBE_AFTER_MS = 10_000;

export interface AppRequest {
  readonly method: string;
  /** The request target, escaped. */
  readonly path: string;
  /** Flat list of names in lower case and values. */
  readonly headers: readonly string[];
  readonly body?: Uint8Array | null;
  /** On a connection of its own, which is closed afterwards. */
  readonly reset?: boolean;
  /** It may be sent again where a connection that had rested was closed instead of an answer: its server was tired of it. */
  readonly repeatable?: boolean;
}

export interface Reply {
  readonly status: number;
  /** Flat list of names in lower case and values. */
  readonly headers: readonly string[];
  readonly body: Buffer;
}

export interface AppClient {
  /** Rejects where there is no answer, and when `signal` aborts. */
  request(request: AppRequest, signal: AbortSignal): Promise<Reply>;
  /** Ends every connection and what is on it. */
  close(): Promise<void>;
}
