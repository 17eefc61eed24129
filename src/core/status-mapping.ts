/** Codes of gRPC as HTTP statuses and the other way round (contract 1.9). */

import { GrpcCode as G } from './errors.ts';

/** HTTP statuses of gRPC codes, from 0 on. */
const HTTP_STATUS = [200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];

export const httpStatusOf = (code: number): number => HTTP_STATUS[code] ?? 500;

const GRPC_CODE = new Map<number, number>([
  [400, G.INTERNAL],
  [401, G.UNAUTHENTICATED],
  [403, G.PERMISSION_DENIED],
  [404, G.NOT_FOUND],
  [408, G.CANCELLED],
  [409, G.ALREADY_EXISTS],
  [429, G.RESOURCE_EXHAUSTED],
  [501, G.UNIMPLEMENTED],
  [503, G.UNAVAILABLE],
  [504, G.DEADLINE_EXCEEDED],
]);

export const grpcCodeOf = (status: number): number =>
  status >= 200 && status < 300 ? G.OK : (GRPC_CODE.get(status) ?? G.UNKNOWN);
