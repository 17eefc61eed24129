/** Between grpc-js and plain async methods: nothing else in the sidecar sees a grpc-js call. */

import { timingSafeEqual } from 'node:crypto';
import type {
  handleBidiStreamingCall,
  handleUnaryCall,
  Metadata,
  sendUnaryData,
  ServerDuplexStream,
  ServerUnaryCall,
} from '@grpc/grpc-js';
import type { ApiAccess } from '../core/api-access.ts';
import { GrpcCode, SidecarError } from '../core/errors.ts';
import { baggageFault } from '../core/baggage.ts';
import type { Trace } from '../core/trace.ts';
import type { Tracer } from '../core/tracer.ts';
import type { GrpcExchange } from '../core/traffic.ts';
import { answerTrace, callerTrace, callSpans, endCallSpan, startCallSpan, type CallSpans } from './call-trace.ts';
import { invalidBaggage, notAllowed, statusOf, unauthenticated } from './status.ts';

/** Methods as the lists of allowed and denied APIs name them. */
const API_NAMES: Readonly<Record<string, readonly [name: string, version: string]>> = {
  PublishEvent: ['publish', 'v1'],
  BulkPublishEvent: ['publish', 'v1'],
  BulkPublishEventAlpha1: ['publish', 'v1alpha1'],
  SubscribeTopicEventsAlpha1: ['subscribe', 'v1alpha1'],
  GetMetadata: ['metadata', 'v1'],
  SetMetadata: ['metadata', 'v1'],
  Shutdown: ['shutdown', 'v1'],
  InvokeService: ['invoke', 'v1'],
};

/** What a method knows of its caller, whichever protocol it used. */
export interface CallContext {
  readonly protocol: 'grpc' | 'http';
  /** What is published goes on from it: the caller's, or that of our span where there is one. */
  readonly trace: Trace;
  /** Of the call; undefined where nothing is recorded. */
  readonly spans?: CallSpans;
  /** A request header or gRPC metadata value by its lower-case name. */
  header(name: string): string | undefined;
  /** What goes along with a call that is passed on: all headers, and when the caller gives up. Of calls over gRPC. */
  passOn?(): PassedOn;
}

export interface PassedOn {
  /** Flat list of names and values, without those of gRPC itself. */
  readonly headers: readonly string[];
  readonly signal: AbortSignal;
}

/** Whether a caller presented the token; true where none is asked for. Takes the same time whatever was sent. */
export function hasToken(wanted: string, given: string | undefined): boolean {
  if (wanted === '') return true;
  const [a, b] = [Buffer.from(wanted), Buffer.from(given ?? '')];
  return a.length === b.length && timingSafeEqual(a, b);
}

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
}

/** Every unary call passes here: it asks for the token, counts what is in hand, and reports what was answered. */
export class CallGate {
  private readonly options: CallGateOptions;
  private inHand = 0;
  private onIdle: (() => void) | undefined;

  constructor(options: CallGateOptions) {
    this.options = options;
  }

  /** A grpc-js handler from an async method. What it throws becomes a status; nothing thrown reaches grpc-js. */
  unary<Request, Response>(
    method: (request: Request, context: CallContext) => Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return (call: ServerUnaryCall<Request, Response>, respond: sendUnaryData<Response>) => {
      const started = performance.now();
      const caller = { ...contextOf(call.metadata), passOn: () => passOn(call) };
      const finish = (code: number, message: string): void => {
        if (span) endCallSpan(span, code, message);
        this.ended(call.getPath(), code, started, caller, false);
        if (--this.inHand === 0) this.onIdle?.();
      };
      this.inHand++;
      const baggage = caller.header('baggage') ?? '';
      const refusal = this.refusal(call.getPath(), caller) ?? refuseBaggage(baggage);
      const { tracer } = this.options;
      const span = tracer && !refusal ? startCallSpan(tracer, call, caller.trace) : undefined;
      if (refusal) {
        respond(refusal);
        return finish(refusal.code, refusal.details);
      }
      const context =
        tracer && span
          ? { ...caller, trace: span.trace, spans: callSpans(tracer, span, `${call.getPath()}/`) }
          : caller;
      answerTrace(call, context.trace, baggage);
      method(call.request, context).then(
        (response) => {
          respond(null, response);
          finish(GrpcCode.OK, '');
        },
        (thrown: unknown) => {
          const error = SidecarError.from(thrown);
          this.options.onError?.(error);
          const status = statusOf(error);
          respond(status);
          finish(status.code, status.details);
        },
      );
    };
  }

  /** A grpc-js handler of a stream: asks for the token, then hands the call over. */
  stream<Request, Response>(
    serve: (call: ServerDuplexStream<Request, Response>) => void,
  ): handleBidiStreamingCall<Request, Response> {
    return (call) => {
      const context = contextOf(call.metadata);
      const started = performance.now();
      call.once('close', () => this.ended(call.getPath(), GrpcCode.OK, started, context, true));
      const refusal = this.refusal(call.getPath(), context);
      if (refusal) call.emit('error', refusal);
      else serve(call);
    };
  }

  private ended(method: string, code: number, started: number, { header }: CallContext, isStream: boolean): void {
    const { onCall } = this.options;
    const userAgent = (): string => header('user-agent') ?? '';
    onCall?.({ method, code, ms: performance.now() - started, userAgent, isStream });
  }

  /** Why a call is not served. Lists come before the token, as in Dapr. */
  private refusal(path: string, context: CallContext): ReturnType<typeof unauthenticated> | undefined {
    const [name, version] = API_NAMES[path.slice(path.lastIndexOf('/') + 1)] ?? [];
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

function refuseBaggage(baggage: string): ReturnType<typeof invalidBaggage> | undefined {
  const fault = baggage === '' ? undefined : baggageFault(baggage);
  return fault === undefined ? undefined : invalidBaggage(fault);
}

type Unaries<Service> = {
  [K in keyof Service]: Service[K] extends (request: infer Request, context: CallContext) => Promise<infer Response>
    ? handleUnaryCall<Request, Response>
    : never;
};

/** grpc-js handlers of a service object whose methods are all unary. */
export function bindUnary<Service extends object>(service: Service, gate: CallGate): Unaries<Service> {
  const entries = Object.entries(service).map(([name, method]) => [name, gate.unary(method)]);
  return Object.fromEntries(entries) as Unaries<Service>;
}

function passOn(call: ServerUnaryCall<unknown, unknown>): PassedOn {
  const controller = new AbortController();
  call.once('cancelled', () => controller.abort());
  if (call.cancelled) controller.abort();
  const headers = Object.entries(call.metadata.getMap()).flatMap(([name, value]) =>
    typeof value === 'string' && !name.startsWith('grpc-') ? [name, value] : [],
  );
  return { headers, signal: controller.signal };
}

function contextOf(metadata: Metadata): CallContext {
  const header = (name: string): string | undefined => {
    const value = metadata.get(name)[0];
    return typeof value === 'string' ? value : undefined;
  };
  return { protocol: 'grpc', trace: callerTrace(metadata), header };
}
