import { GrpcCode } from '../../core/errors.ts';

/** Names of gRPC's codes as Go prints them, from 0 on. */
const NAMES = [
  ...['OK', 'Canceled', 'Unknown', 'InvalidArgument', 'DeadlineExceeded', 'NotFound', 'AlreadyExists'],
  ...['PermissionDenied', 'ResourceExhausted', 'FailedPrecondition', 'Aborted', 'OutOfRange', 'Unimplemented'],
  ...['Internal', 'Unavailable', 'DataLoss', 'Unauthenticated'],
];

/** A call of the component that failed, in the words that Dapr has for it. `code` is gRPC's. */
export class PluginError extends Error {
  readonly code: number;

  constructor(code: number, details: string) {
    super(`rpc error: code = ${NAMES[code] ?? `Code(${code})`} desc = ${details}`);
    this.code = code;
  }

  /** From what the gRPC library rejects with. */
  static from(error: { readonly code?: unknown; readonly details?: unknown; readonly message?: string }): PluginError {
    const { code, details, message = '' } = error;
    return new PluginError(
      typeof code === 'number' ? code : GrpcCode.UNKNOWN,
      typeof details === 'string' ? details : message,
    );
  }

  get isUnimplemented(): boolean {
    return this.code === GrpcCode.UNIMPLEMENTED;
  }
}
