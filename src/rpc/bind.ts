/** Between calls over gRPC and plain async methods. */

import { timingSafeEqual } from 'node:crypto';
import type { ApiAccess } from '../core/api-access.ts';
import { GrpcCode, SidecarError } from '../core/errors.ts';
import { baggageFault } from '../core/baggage.ts';
import type { Trace } from '../core/trace.ts';
import type { Tracer } from '../core/tracer.ts';
import type { GrpcExchange, OnMessage } from '../core/traffic.ts';
import { OK, type CallStatus, type ServerCall } from './call.ts';
import { answerTrace, callerTrace, callSpans, endCallSpan, startCallSpan, type CallSpans } from './call-trace.ts';
import { invalidBaggage, notAllowed, statusOf, unauthenticated } from './status.ts';

/** As the lists of allowed and denied APIs name what is called. */
export type ApiName = readonly [name: string, version: string];
export const INVOKE: ApiName = ['invoke', 'v1'];
const API_NAMES: Readonly<Record<string, ApiName>> = {
  PublishEvent: ['publish', 'v1'],
  BulkPublishEvent: ['publish', 'v1'],
  BulkPublishEventAlpha1: ['publish', 'v1alpha1'],
  SubscribeTopicEventsAlpha1: ['subscribe', 'v1alpha1'],
  GetMetadata: ['metadata', 'v1'],
  SetMetadata: ['metadata', 'v1'],
  Shutdown: ['shutdown', 'v1'],
  InvokeService: INVOKE,
};

/** What a method knows of its caller, whichever protocol it used. */
export interface CallContext {
  readonly protocol: 'grpc' | 'http';
  /** What is published goes on from it: the caller's, or that of our span where there is one. */
  readonly trace: Trace;
  /** W3C baggage as it was sent, empty without any. */
  readonly baggage: string;
  /** Of the call; undefined where nothing is recorded. */
  readonly spans?: CallSpans;
  /** A request header or gRPC metadata value by its lower-case name. */
  header(name: string): string | undefined;
  /** What goes along with a call that is passed on: all headers, and when the caller gives up. Of calls over gRPC. */
  passOn?(): PassedOn;
}

export interface PassedOn {
  /** Flat list of names and values, without those of gRPC itself; bytes as base64, under a name that ends with -bin. */
  readonly headers: readonly string[];
  readonly signal: AbortSignal;
}

/** Whether a caller presented the token; true where none is asked for. Takes the same time whatever was sent. */
export function hasToken(wanted: string, given: string | undefined): boolean {
  if (wanted === '') return true;
  const [a, b] = [Buffer.from(wanted), Buffer.from(given ?? '')];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** How one call is served. */
export type Serve = (call: ServerCall) => void;

export interface Codec<Request, Response> {
  requestDeserialize(bytes: Buffer): Request;
  responseSerialize(response: Response): Uint8Array;
}

const NO_MESSAGE: CallStatus = { code: GrpcCode.INTERNAL, details: 'the request has no message' };
const TWO_MESSAGES: CallStatus = { code: GrpcCode.INTERNAL, details: 'the request has more than one message' };

/** A call that ended. */
export interface AnsweredCall extends GrpcExchange {
  readonly userAgent: () => string;
  readonly isStream: boolean;
}

export interface CallGateOptions {
  /** Required of every call; empty: none. */
  readonly apiToken: string;
  readonly access: ApiAccess;
  /** Undefined where nothing is recorded. */
  readonly tracer: Tracer | undefined;
  /** Undefined where nobody wants to know. */
  readonly onCall: ((call: AnsweredCall) => void) | undefined;
  readonly onError: ((error: SidecarError) => void) | undefined;
  /** Of unary calls. */
  readonly onMessage: OnMessage | undefined;
}

/** Every unary call passes here: it asks for the token, counts what is in hand, and reports what was answered. */
export class CallGate {
  private readonly options: CallGateOptions;
  private inHand = 0;
  private onIdle: (() => void) | undefined;

  constructor(options: CallGateOptions) {
    this.options = options;
  }

  /** Serves calls by an async method. What it throws becomes a status. */
  unary<Request, Response>(
    { requestDeserialize: decode, responseSerialize: encode }: Codec<Request, Response>,
    method: (request: Request, context: CallContext) => Promise<Response>,
  ): Serve {
    return (call) => {
      let request: Request | undefined;
      call.read({
        message: (bytes) => {
          if (request !== undefined) return call.end(TWO_MESSAGES);
          this.options.onMessage?.(call.path, 'received', bytes.length);
          if (!call.keep(bytes.length)) return;
          request = decode(bytes);
        },
        end: () => {
          if (request === undefined) return call.end(NO_MESSAGE);
          this.run(call, request, async (asked, context) => encode(await method(asked, context)));
        },
      });
    };
  }

  /** Serves streams: asks for the token, then hands the call over. `api` where the name of the method does not tell. */
  stream(serve: Serve, api?: ApiName): Serve {
    return (call) => {
      const context = contextOf(call);
      const started = performance.now();
      call.onClose((code) => this.ended(call.path, code, started, context, true));
      const refusal = this.refusal(call.path, context, api);
      if (refusal) call.end(refusal);
      else serve(call);
    };
  }

  private run<Request>(
    call: ServerCall,
    request: Request,
    method: (request: Request, context: CallContext) => Promise<Uint8Array>,
  ): void {
    const started = performance.now();
    const caller = contextOf(call);
    const finish = (status: CallStatus, response?: Uint8Array): void => {
      call.end(status, response);
      if (span) endCallSpan(span, status.code, status.details);
      this.ended(call.path, status.code, started, caller, false);
      if (--this.inHand === 0) this.onIdle?.();
    };
    this.inHand++;
    const refusal = this.refusal(call.path, caller) ?? refuseBaggage(caller.baggage);
    const { tracer, onError, onMessage } = this.options;
    const span = tracer && !refusal ? startCallSpan(tracer, call, request, caller.trace) : undefined;
    if (refusal) return finish(refusal);
    const context =
      tracer && span ? { ...caller, trace: span.trace, spans: callSpans(tracer, span, `${call.path}/`) } : caller;
    answerTrace(call, context.trace, caller.baggage);
    method(request, context).then(
      (response) => {
        onMessage?.(call.path, 'sent', response.length);
        finish(OK, response);
      },
      (thrown: unknown) => {
        const error = SidecarError.from(thrown);
        onError?.(error);
        finish(statusOf(error));
      },
    );
  }

  private ended(method: string, code: number, started: number, { header }: CallContext, isStream: boolean): void {
    const { onCall } = this.options;
    const userAgent = (): string => header('user-agent') ?? '';
    onCall?.({ method, code, ms: performance.now() - started, userAgent, isStream });
  }

  /** Why a call is not served. Lists come before the token, as in Dapr. */
  private refusal(
    path: string,
    context: CallContext,
    api = API_NAMES[path.slice(path.lastIndexOf('/') + 1)],
  ): CallStatus | undefined {
    const [name, version] = api ?? [];
    if (name !== undefined && version !== undefined && !this.options.access.allows('grpc', { name, version }))
      return notAllowed();
    const token = context.header('dapr-api-token');
    return hasToken(this.options.apiToken, token) ? undefined : unauthenticated(token !== undefined);
  }

  /** Resolves when no unary call is in hand, or when `deadline` aborts. */
  async idle(deadline: AbortSignal): Promise<void> {
    if (this.inHand === 0 || deadline.aborted) return;
    await new Promise<void>((resolve) => {
      this.onIdle = resolve;
      deadline.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}

type Methods = Readonly<Record<string, (request: never, context: CallContext) => Promise<unknown>>>;

/** How each method of a service object is served. The types of `codecs` are those of the methods: the caller's check. */
export function bindUnary<M extends Methods>(
  codecs: { readonly [K in keyof M]: Codec<Parameters<M[K]>[0], Awaited<ReturnType<M[K]>>> },
  methods: M,
  gate: CallGate,
): Record<string, Serve> {
  const names = Object.keys(methods);
  return Object.fromEntries(names.map((name) => [name, gate.unary(codecs[name] as never, methods[name] as never)]));
}

function refuseBaggage(baggage: string): CallStatus | undefined {
  const fault = baggage === '' ? undefined : baggageFault(baggage);
  return fault === undefined ? undefined : invalidBaggage(fault);
}

/** Of HTTP/2 and of gRPC itself. */
const NOT_PASSED_ON = /^(?::|grpc-|te$|content-type$|accept-encoding$)/;

function passOn(call: ServerCall): PassedOn {
  const controller = new AbortController();
  call.onCancelled(() => controller.abort());
  const headers = Object.keys(call.headers).flatMap((name) =>
    NOT_PASSED_ON.test(name) ? [] : [name, call.header(name) ?? ''],
  );
  return { headers, signal: controller.signal };
}

const contextOf = (call: ServerCall): CallContext => ({
  protocol: 'grpc',
  trace: callerTrace(call),
  baggage: call.header('baggage') ?? '',
  header: (name) => call.header(name),
  passOn: () => passOn(call),
});
