/** Requests that were answered, told to whoever counts them. Where nobody counts there is no Traffic at all. */

/** A request over HTTP and its answer. Sizes are bytes of bodies, times milliseconds. */
export interface HttpExchange {
  readonly method: string;
  /** As it was asked for, without the query. */
  readonly path: string;
  readonly status: number;
  readonly received: number;
  readonly sent: number;
  readonly ms: number;
}

/** A unary call over gRPC. */
export interface GrpcExchange {
  /** The whole name: `/package.Service/Method`. */
  readonly method: string;
  readonly code: number;
  readonly ms: number;
}

/** A message of a unary call over gRPC; of an answer that is an error there is none, which is 0 bytes. */
export type OnMessage = (method: string, direction: 'received' | 'sent', bytes: number) => void;

export interface Traffic {
  /** The API answered. */
  readonly httpServed: (exchange: HttpExchange) => void;
  readonly grpcServed: (exchange: GrpcExchange) => void;
  readonly grpcMessage: OnMessage;
  /** The app answered, or did not: that is status 500 and UNAVAILABLE. */
  readonly httpCalled: (exchange: HttpExchange) => void;
  readonly grpcCalled: (exchange: GrpcExchange & Pick<HttpExchange, 'received' | 'sent'>) => void;
  /** The app was asked whether it is well. */
  readonly httpProbed: (status: number, ms: number) => void;
  readonly grpcProbed: (code: number, ms: number) => void;
}
