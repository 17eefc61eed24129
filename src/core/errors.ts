/**
 * The one error of the sidecar and the one table of what an error is on the wire (contract 1.6 and 3.6).
 * No status number, gRPC code or error tag stands anywhere else.
 */

/** gRPC codes that are used, by the names of the specification. */
export const GrpcCode = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

interface Row {
  readonly grpc: number;
  readonly http: number;
  /** `errorCode` of the JSON body. */
  readonly tag: string;
  /** `reason` of ErrorInfo; empty when the error carries no details. */
  readonly reason: string;
  /** Whether ResourceInfo goes with it. */
  readonly resource: boolean;
  /** What it is counted under; empty: Dapr has no number for it. */
  readonly category: Category;
}

type Category = 'pubsub' | 'health' | 'service-invocation' | 'common' | '';

const row = (grpc: number, http: number, tag: string, reason: string, resource = true): Row => ({
  grpc,
  http,
  tag,
  reason,
  resource,
  category: 'pubsub',
});

/** An error without details. */
const plain = (grpc: number, http: number, tag: string, category: Category): Row => ({
  grpc,
  http,
  tag,
  reason: '',
  resource: false,
  category,
});

const G = GrpcCode;

export const ERRORS = {
  'pubsub-name-empty': row(G.INVALID_ARGUMENT, 404, 'ERR_PUBSUB_EMPTY', 'DAPR_PUBSUB_NAME_EMPTY'),
  'pubsub-not-found': row(G.INVALID_ARGUMENT, 404, 'ERR_PUBSUB_NOT_FOUND', 'DAPR_PUBSUB_NOT_FOUND', false),
  'topic-empty': row(G.INVALID_ARGUMENT, 404, 'ERR_TOPIC_NAME_EMPTY', 'DAPR_PUBSUB_TOPIC_NAME_EMPTY'),
  'metadata-invalid': row(
    G.INVALID_ARGUMENT,
    400,
    'ERR_PUBSUB_REQUEST_METADATA',
    'DAPR_PUBSUB_METADATA_DESERIALIZATION',
  ),
  'cloud-event-invalid': row(
    G.INVALID_ARGUMENT,
    500,
    'ERR_PUBSUB_CLOUD_EVENTS_SER',
    'DAPR_PUBSUB_CLOUD_EVENT_CREATION',
  ),
  'envelope-invalid': row(G.INVALID_ARGUMENT, 400, 'ERR_PUBSUB_EVENTS_SER', 'DAPR_PUBSUB_MARSHAL_ENVELOPE'),
  'entries-invalid': row(G.INVALID_ARGUMENT, 400, 'ERR_PUBSUB_EVENTS_SER', 'DAPR_PUBSUB_MARSHAL_EVENTS'),
  'bulk-body-invalid': row(G.INVALID_ARGUMENT, 400, 'ERR_PUBSUB_EVENTS_SER', 'DAPR_PUBSUB_UNMARSHAL_EVENTS'),
  'publish-failed': row(G.INTERNAL, 500, 'ERR_PUBSUB_PUBLISH_MESSAGE', 'DAPR_PUBSUB_PUBLISH_MESSAGE'),
  'topic-forbidden': row(G.PERMISSION_DENIED, 403, 'ERR_PUBSUB_FORBIDDEN', 'DAPR_PUBSUB_FORBIDDEN'),
  'not-ready': plain(G.UNAVAILABLE, 500, 'ERR_HEALTH_NOT_READY', 'health'),
  'outbound-not-ready': plain(G.UNAVAILABLE, 500, 'ERR_OUTBOUND_HEALTH_NOT_READY', 'health'),
  'app-id-mismatch': plain(G.INVALID_ARGUMENT, 500, 'ERR_HEALTH_APPID_NOT_MATCH', 'health'),
  'body-unreadable': plain(G.INVALID_ARGUMENT, 400, 'ERR_BODY_READ', 'common'),
  overloaded: plain(G.RESOURCE_EXHAUSTED, 429, 'ERR_OVERLOADED', ''),
  'metadata-full': plain(G.RESOURCE_EXHAUSTED, 413, 'ERR_METADATA_FULL', ''),
  'no-such-route': plain(G.UNIMPLEMENTED, 404, 'ERR_DIRECT_INVOKE', 'service-invocation'),
  'invoke-failed': plain(G.INTERNAL, 500, 'ERR_DIRECT_INVOKE', 'service-invocation'),
  'stream-refused': plain(G.UNKNOWN, 500, 'ERROR', ''),
  'stream-closed': plain(G.UNKNOWN, 500, 'ERROR', ''),
  unexpected: plain(G.INTERNAL, 500, 'ERROR', ''),
} as const satisfies Record<string, Row>;

export type ErrorKind = keyof typeof ERRORS;

export interface ErrorDetails {
  /** Name of the component the error is about; ResourceInfo's resource_name. */
  readonly resource?: string;
  /** ErrorInfo's metadata. */
  readonly info?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** An error somebody outside may see. Its message is meant for them. */
export class SidecarError extends Error {
  readonly kind: ErrorKind;
  readonly resource: string;
  readonly info: Readonly<Record<string, string>>;

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'SidecarError';
    this.kind = kind;
    this.resource = details.resource ?? '';
    this.info = details.info ?? {};
  }

  get row(): Row {
    return ERRORS[this.kind];
  }

  /** The one door for caught values: ours stays, anything else becomes `unexpected` with its text. */
  static from(value: unknown): SidecarError {
    return value instanceof SidecarError ? value : new SidecarError('unexpected', messageOf(value), { cause: value });
  }
}

/** The text of anything that was thrown. */
export function messageOf(value: unknown): string {
  return value instanceof Error ? value.message : String(value);
}
