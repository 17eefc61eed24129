/** Our errors as gRPC statuses, with the details that SDKs read from `grpc-status-details-bin` (contract 1.6). */

import { ErrorInfo, ResourceInfo, Status } from '../../gen/google/rpc/status.ts';
import { shortened } from '../channels/grpc-headers.ts';
import type { SidecarError } from '../core/errors.ts';
import { GrpcCode } from '../core/errors.ts';
import type { CallStatus } from './call.ts';

const DOMAIN = 'dapr.io';
const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';
/** They travel in trailers beside the message. */
const MAX_DETAILS_BYTES = 2500;

/** How a call ends for an error: code, message, and details that agree with both. */
export function statusOf(error: SidecarError): CallStatus {
  const { grpc: code, reason, resource } = error.row;
  const message = shortened(error.message);
  if (reason === '') return packed(code, message, []);
  const errorInfo = (metadata: Record<string, string>): Detail =>
    any('ErrorInfo', ErrorInfo.encode({ reason, domain: DOMAIN, metadata }).finish());
  const details = [
    ...(resource ? [any('ResourceInfo', ResourceInfo.encode(resourceInfo(error, message)).finish())] : []),
    errorInfo(infoOf(error)),
  ];
  const size = details.reduce((sum, { value }) => sum + value.length, 0);
  return packed(code, message, size > MAX_DETAILS_BYTES ? [errorInfo({})] : details);
}

/** Dapr leaves the request's metadata out of "not found" on gRPC, and only there. */
function infoOf(error: SidecarError): Record<string, string> {
  return error.kind === 'pubsub-not-found' ? {} : { ...error.info };
}

function resourceInfo({ resource }: SidecarError, description: string): ResourceInfo {
  return { resourceType: 'pubsub', resourceName: resource, owner: '', description };
}

interface Detail {
  readonly typeUrl: string;
  readonly value: Buffer;
}

const any = (type: string, value: Uint8Array): Detail => ({ typeUrl: TYPE_PREFIX + type, value: Buffer.from(value) });

/** A call without the right token, in the words that Dapr uses (contract 1.8). */
export function unauthenticated(presented: boolean): CallStatus {
  const reason = presented ? 'authentication error: api token mismatch' : 'missing api token in request metadata';
  const code = GrpcCode.UNAUTHENTICATED;
  const info = { 'http.code': '401', 'http.error_message': reason };
  const details = [
    any('ErrorInfo', ErrorInfo.encode({ reason: 'Unauthorized', domain: DOMAIN, metadata: info }).finish()),
  ];
  return packed(code, 'Unauthorized', details);
}

/** A call that the lists of allowed and denied APIs exclude, in the words that Dapr uses (contract 1.7). */
export function notAllowed(): CallStatus {
  const info = { 'http.code': '501', 'http.error_message': 'requested endpoint is not available' };
  return packed(GrpcCode.UNIMPLEMENTED, 'Not Implemented', [
    any('ErrorInfo', ErrorInfo.encode({ reason: 'Not Implemented', domain: DOMAIN, metadata: info }).finish()),
  ]);
}

/** A call with a baggage header that is none. */
export function invalidBaggage(fault: string): CallStatus {
  return packed(GrpcCode.INVALID_ARGUMENT, `invalid baggage header: ${fault}`, []);
}

function packed(code: number, message: string, details: Detail[]): CallStatus {
  if (details.length === 0) return { code, details: message };
  const bytes = Buffer.from(Status.encode({ code, message, details }).finish());
  return { code, details: message, trailers: { 'grpc-status-details-bin': bytes.toString('base64') } };
}
