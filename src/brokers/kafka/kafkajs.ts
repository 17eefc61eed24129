/**
 * The inside of kafkajs, the only place that imports it. What is used of it is its protocol: requests and answers by
 * version, the connection with its authentication, nothing of its producer and consumer. That is not its public face,
 * so the version is pinned exactly, and test/unit/brokers/kafka/kafkajs.test.ts holds what is relied on.
 */

// @ts-expect-error kafkajs has no types for its inside
import KafkajsBroker from 'kafkajs/src/broker/index.js';
// @ts-expect-error kafkajs has no types for its inside
import { KafkaJSSASLAuthenticationError } from 'kafkajs/src/errors.js';
// @ts-expect-error kafkajs has no types for its inside
import KafkajsConnection from 'kafkajs/src/network/connection.js';
// @ts-expect-error kafkajs has no types for its inside
import KafkajsRequestQueue from 'kafkajs/src/network/requestQueue/index.js';
// @ts-expect-error kafkajs has no types for its inside
import kafkajsApiKeys from 'kafkajs/src/protocol/requests/apiKeys.js';
// @ts-expect-error kafkajs has no types for its inside
import kafkajsProtocol from 'kafkajs/src/protocol/requests/index.js';
// @ts-expect-error kafkajs has no types for its inside
import { createErrorFromCode } from 'kafkajs/src/protocol/error.js';

export interface KafkaLogger {
  namespace(): KafkaLogger;
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** What a request is on its way: `decode` reads the bytes, `parse` throws what they say went wrong. */
export interface ProtocolRequest<T> {
  readonly request: Request;
  readonly response: { decode(bytes: Buffer): Promise<unknown>; parse(decoded: unknown): Promise<T> };
  /** Milliseconds, where the request may take longer than others. */
  readonly requestTimeout?: number;
  readonly logResponseError?: boolean;
}

export interface Request {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly apiName: string;
}

export type Versions = Readonly<Record<number, { readonly minVersion: number; readonly maxVersion: number }>>;

export type SocketFactory = (options: {
  readonly host: string;
  readonly port: number;
  readonly ssl: object | null;
  readonly onConnect: () => void;
}) => unknown;

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  readonly logger: KafkaLogger;
  readonly socketFactory: SocketFactory;
  /** Milliseconds an answer may take, where that is enforced. */
  readonly requestTimeout: number;
  readonly enforceRequestTimeout: boolean;
  /** Milliseconds connecting may take. */
  readonly connectionTimeout: number;
  readonly clientId: string;
  readonly ssl: object | null;
  readonly sasl: object | null;
}

export interface KafkaConnection {
  readonly requestQueue: RequestQueue;
  isConnected(): boolean;
  isAuthenticated(): boolean;
  setVersions(versions: Versions): void;
  setSupportAuthenticationProtocol(isSupported: boolean): void;
  connect(): Promise<unknown>;
  /** Once more, where a session of SASL has run out. */
  authenticate(): Promise<void>;
  nextCorrelationId(): number;
  disconnect(): Promise<unknown>;
  rejectRequests(error: Error): void;
  send<T>(request: ProtocolRequest<T>): Promise<T>;
}

interface Waiting {
  readonly pending: readonly unknown[];
  readonly throttledUntil: number;
}

interface RequestQueue extends Waiting {
  /** Calls `sendRequest` when the broker may get it, and what `entry` says when the answer is there. */
  push(request: {
    readonly entry: Request & {
      readonly correlationId: number;
      readonly resolve: (answer: { readonly payload: Buffer | null }) => void;
      readonly reject: (error: Error) => void;
    };
    readonly expectResponse: boolean;
    readonly sendRequest: () => void;
  }): void;
  maybeThrottle(ms: number): void;
}

/** Opens one connection: asks for the versions, authenticates. */
export interface KafkaBroker {
  readonly versions: Versions;
  connect(): Promise<void>;
}

export const Connection = KafkajsConnection as unknown as new (options: ConnectionOptions) => KafkaConnection;
export const Broker = KafkajsBroker as unknown as new (options: object) => KafkaBroker;
export const RequestQueue = KafkajsRequestQueue as unknown as {
  readonly prototype: RequestQueue & { scheduleCheckPendingRequests(this: Waiting): void };
};
export const apiKeys = kafkajsApiKeys as Readonly<Record<string, number>>;

type Definition = object;
const { requests, lookup } = kafkajsProtocol as {
  readonly requests: Readonly<Record<string, Definition>>;
  lookup(versions: Versions): (apiKey: number, definition: Definition) => (args: object) => ProtocolRequest<unknown>;
};

/** The request in the highest version that both sides know. */
export function protocolRequest(versions: Versions, api: string, args: object): ProtocolRequest<unknown> {
  return lookup(versions)(apiKeys[api] as number, requests[api] as Definition)(args);
}

/** An error of the protocol: `type` as in Kafka's list. */
export interface ProtocolError extends Error {
  readonly type: string;
  readonly code: number;
  readonly retriable: boolean;
}

export const errorOfCode = createErrorFromCode as (code: number) => ProtocolError;

/** A broker does not let us in. */
export const SaslError = KafkaJSSASLAuthenticationError as new (message: string) => Error;

/** The type of an error of Kafka; the name of any other. */
export const typeOf = (error: unknown): string =>
  (error as { type?: string }).type ?? (error instanceof Error ? error.name : '');

/**
 * In 2.2.4 each connection re-arms a timer with a negative delay for ever, hundreds of times a second, and Node warns
 * of it. Nothing is due while nothing is pending and the broker does not throttle us.
 */
const schedule = RequestQueue.prototype.scheduleCheckPendingRequests;
RequestQueue.prototype.scheduleCheckPendingRequests = function (): void {
  if (this.pending.length > 0 || this.throttledUntil > Date.now()) schedule.call(this);
};

/** The earliest that a session is renewed before its end, in milliseconds; shorter ones in their last tenth. */
export const RENEWAL_MS = 10_000;

/**
 * kafkajs renews a session 10 s before its end, however short it is: one of less at each request, which brokers refuse
 * when it is more than once a second.
 */
Object.defineProperty(Connection.prototype, 'reauthenticationThreshold', {
  get(this: { readonly sessionLifetime: { toNumber(): number } }): number {
    return Math.min(RENEWAL_MS, Math.trunc(this.sessionLifetime.toNumber() / 10));
  },
  set: () => undefined, // its constructor
});
