/** InvokeService between its messages and a call of the app. */

import { STATUS_CODES } from 'node:http';
import { HTTPExtension_Verb, type InvokeRequest, type InvokeResponse } from '../../gen/dapr/proto/common/v1/common.ts';
import type { InvokeServiceRequest } from '../../gen/dapr/proto/runtime/v1/invoke.ts';
import { asBuffer } from '../core/cloud-event.ts';
import { RefusedByApp, type Invocation, type Invoked } from '../core/invocation.ts';
import { grpcCodeOf } from '../core/status-mapping.ts';
import type { Trace } from '../core/trace.ts';

const EMPTY: InvokeRequest = { method: '', data: undefined, contentType: '', httpExtension: undefined };
const NOTHING = { typeUrl: '', value: Buffer.alloc(0) };
const VERBS = new Map<number, string>(Object.entries(HTTPExtension_Verb).map(([name, number]) => [number, name]));

/** A request without a method of HTTP is a POST for an app over HTTP. */
export function invocationOf(
  { id, message }: InvokeServiceRequest,
  headers: readonly string[],
  trace: Trace,
): Invocation {
  const { method, contentType, data, httpExtension } = message ?? EMPTY;
  const { verb: number, querystring: query } = httpExtension ?? { verb: HTTPExtension_Verb.NONE, querystring: '' };
  const verb = number === HTTPExtension_Verb.NONE ? 'POST' : (VERBS.get(number) ?? 'POST');
  const { typeUrl, value: body } = data ?? NOTHING;
  return { id, verb, method, query, contentType, headers, body, typeUrl, trace };
}

/** Throws where the app said no: gRPC has errors where HTTP has answers. */
export function responseOf({ status, contentType, body, typeUrl }: Invoked): InvokeResponse {
  const grpc = grpcCodeOf(status);
  if (grpc !== 0) throw new RefusedByApp(STATUS_CODES[status] ?? `HTTP status ${status}`, { grpc, http: status }, body);
  return { data: { typeUrl, value: asBuffer(body) }, contentType };
}
