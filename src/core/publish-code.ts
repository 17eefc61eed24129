/** Which code a failed publish has where a retry's `matching` asks (contract 1.9, 10.6). */

import { GrpcCode } from './errors.ts';
import { httpStatusOf } from './status-mapping.ts';

/**
 * The gRPC code a broker's error carries, by default that of a broker that cannot be reached; for a caller over HTTP
 * the status it stands for.
 */
export function publishCode(error: Error, protocol: 'grpc' | 'http'): number {
  const own = (error as { code?: unknown }).code;
  const code = typeof own === 'number' ? own : GrpcCode.UNAVAILABLE;
  return protocol === 'grpc' ? code : httpStatusOf(code);
}
