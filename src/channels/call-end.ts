/** What the end of a gRPC call means (its protocol over HTTP/2, and contract 2.2). */

import { GrpcCode } from '../core/errors.ts';
import { isGrpc, unescaped } from './grpc-headers.ts';
import { ErrorCode } from './http2-frames.ts';

/** A call that did not end with OK. `code` is gRPC's; `httpStatus` is set where the answer was no gRPC at all. */
export class GrpcCallError extends Error {
  readonly code: number;
  readonly httpStatus: number;

  constructor(code: number, message: string, httpStatus = 200) {
    super(message);
    this.code = code;
    this.httpStatus = httpStatus;
  }
}

const {
  CANCELLED,
  UNKNOWN,
  PERMISSION_DENIED,
  RESOURCE_EXHAUSTED,
  UNIMPLEMENTED,
  INTERNAL,
  UNAVAILABLE,
  UNAUTHENTICATED,
} = GrpcCode;
/** What gRPC takes an answer for that is none of its own, by its HTTP status. */
const CODE_OF_HTTP = new Map<number, number>([
  [400, INTERNAL],
  [401, UNAUTHENTICATED],
  [403, PERMISSION_DENIED],
  [404, UNIMPLEMENTED],
  [429, UNAVAILABLE],
  [502, UNAVAILABLE],
  [503, UNAVAILABLE],
  [504, UNAVAILABLE],
]);
/** And a reset; all others are INTERNAL. */
const CODE_OF_RESET = new Map<number, number>([
  [ErrorCode.REFUSED_STREAM, UNAVAILABLE],
  [ErrorCode.CANCEL, CANCELLED],
  [ErrorCode.ENHANCE_YOUR_CALM, RESOURCE_EXHAUSTED],
  [ErrorCode.INADEQUATE_SECURITY, PERMISSION_DENIED],
]);
const MAX_CODE = 16;

/** Reads the headers and trailers of a call, and says how it ended. */
export class CallEnd {
  /** The headers that its status came with, names and values in turn; undefined before. */
  headers: readonly string[] | undefined;
  /** The content type of an answer of gRPC; undefined where there is no such answer. */
  type: string | undefined;
  private httpStatus = 0;
  private status: string | undefined;
  private message = '';

  /** Headers or trailers, names and values in turn. */
  read(fields: readonly string[]): void {
    let [status, contentType]: (string | undefined)[] = [];
    for (let i = 0; i < fields.length; i += 2) {
      const value = fields[i + 1] as string;
      switch (fields[i]) {
        case ':status':
          status = value;
          break;
        case 'content-type':
          contentType = value;
          break;
        case 'grpc-status':
          this.status = value;
          this.headers = fields;
          break;
        case 'grpc-message':
          this.message = value;
          break;
      }
    }
    if (status === undefined) return;
    this.httpStatus = Number(status);
    if (this.httpStatus === 200 && isGrpc(contentType)) this.type = contentType;
  }

  /**
   * Why it did not end well. `reset` is one of ErrorCode, 0 where the stream came to its end; `lost` says why the
   * connection was. A status that came before either is what the app said, and counts.
   */
  failure(reset: number, lost?: string): GrpcCallError | undefined {
    const { httpStatus, status } = this;
    if (status !== undefined && status !== '0') {
      const code = /^\d+$/.test(status) ? Number(status) : UNKNOWN;
      return new GrpcCallError(code > MAX_CODE ? UNKNOWN : code, unescaped(this.message));
    }
    if (lost !== undefined) return new GrpcCallError(UNAVAILABLE, lost, httpStatus);
    if (httpStatus !== 0 && httpStatus !== 200) {
      return new GrpcCallError(CODE_OF_HTTP.get(httpStatus) ?? UNKNOWN, `HTTP status ${httpStatus}`, httpStatus);
    }
    return status === undefined || reset !== 0 || httpStatus === 0 ? this.withoutStatus(reset) : undefined;
  }

  private withoutStatus(reset: number): GrpcCallError {
    const { httpStatus, type } = this;
    if (httpStatus === 200 && type === undefined) return new GrpcCallError(UNKNOWN, 'the answer is none of gRPC');
    const said = reset === 0 ? 'the call ended without a status' : `the call was reset with code ${reset}`;
    return new GrpcCallError(CODE_OF_RESET.get(reset) ?? INTERNAL, said, httpStatus);
  }
}
