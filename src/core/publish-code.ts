/** Which code a failed publish has where a retry's `matching` asks (contract 1.9, 10.6). */

import { GrpcCode } from './errors.ts';

/** HTTP statuses of gRPC codes, from 0 on. */
const HTTP_STATUS = [200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

/**
 * The gRPC code a broker's error carries, by default that of a broker that cannot be reached; for a caller over HTTP
 * the status it stands for.
 */
export function publishCode(error: Error, protocol: 'grpc' | 'http'): number {
  const own = (error as { code?: unknown }).code;
  const code = typeof own === 'number' ? own : GrpcCode.UNAVAILABLE;
  return protocol === 'grpc' ? code : (HTTP_STATUS[code] ?? 500);
}
