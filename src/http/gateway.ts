/**
 * The HTTP API. Every request passes `handle`: token, route, answer. Publishing and health are answered here: the hot
 * path, and what probes ask all day. Koa serves the rest and is loaded when first asked for something: it is 11 MB.
 */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { ApiAccess } from '../core/api-access.ts';
import { baggageFault } from '../core/baggage.ts';
import { SidecarError } from '../core/errors.ts';
import type { Invoke } from '../core/invocation.ts';
import type { ParkedTopic } from '../core/parked.ts';
import { PublishError } from '../core/publisher.ts';
import type { Tracer } from '../core/tracer.ts';
import type { HttpExchange } from '../core/traffic.ts';
import { hasToken, type CallContext } from '../rpc/bind.ts';
import { allowOrigin } from './cors.ts';
import { bodyOf, bulkBodyOf, bulkHeadersOf } from './error-body.ts';
import { invokeApp } from './invoke.ts';
import { BadEscape, clean, NO_ROUTE, routeOf, splitTarget, type Route } from './path.ts';
import { publishBulk, publishEvent, type PublishPort } from './publish.ts';
import { answerHeaders, contextOf, header } from './request-context.ts';
import { traced } from './request-span.ts';
import { permitted } from './route-names.ts';

export interface GatewayOptions extends PublishPort {
  readonly invoke: Invoke;
  readonly parked: {
    list(): Promise<readonly ParkedTopic[]>;
    deliver(pubsubName: string, topic: string): Promise<number>;
  };
  /** Required of every request but health checks; empty: none. */
  readonly apiToken: string;
  /** Origins that browsers may call from. */
  readonly allowedOrigins: readonly string[];
  readonly access: ApiAccess;
  /** Undefined where nothing is recorded. */
  readonly tracer: Tracer | undefined;
  /** Whether publishing works: components and servers are up. */
  readonly outboundReady: () => boolean;
  /** What is not ready yet; empty when everything is. */
  readonly notReady: () => readonly string[];
  readonly onRequest: ((request: ServedRequest) => void) | undefined;
  readonly onError: ((error: SidecarError) => void) | undefined;
}

/** A request that was answered, for who counts or logs calls of the API. */
export interface ServedRequest extends HttpExchange {
  readonly route: Route;
  readonly userAgent: string;
}

/** The handler of every listening server. Never throws and always answers. */
export function createGateway(options: GatewayOptions): RequestListener {
  const admin = lazyAdmin(options);
  return function handle(request, response) {
    const { path, query } = splitTarget(request.url ?? '/');
    const method = request.method ?? 'GET';
    let route = NO_ROUTE;
    if (options.onRequest) tellOf(request, response, options.onRequest, () => ({ method, path: clean(path), route }));
    if (allowOrigin(options.allowedOrigins, request, response)) return;
    try {
      route = permitted(options.access, routeOfRequest(request, method, path), path);
    } catch (error) {
      if (!(error instanceof BadEscape)) throw error;
      return answer(response, 400, error.message, TEXT);
    }
    if (!isOpen(route) && !hasToken(options.apiToken, header(request, 'dapr-api-token'))) {
      response.setHeader('x-content-type-options', 'nosniff');
      return answer(response, 401, 'invalid api token\n', TEXT);
    }
    if (isOpen(route)) return health(options, route, query, response);
    serve(options, admin, { request, response, path, route, query });
  };
}

/** Tells of a request when it was answered. */
function tellOf(
  request: IncomingMessage,
  response: ServerResponse,
  onRequest: (request: ServedRequest) => void,
  about: () => Pick<ServedRequest, 'method' | 'path' | 'route'>,
): void {
  const started = performance.now();
  response.once('close', () => {
    const userAgent = request.headers['user-agent'] ?? '';
    const received = Number(request.headers['content-length'] ?? 0);
    const sent = Number(response.getHeader('content-length') ?? 0);
    const ms = performance.now() - started;
    onRequest({ ...about(), status: response.statusCode, ms, received, sent, userAgent });
  });
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly route: Route;
  readonly query: string;
}

/** Everything but health: what is traced. */
function serve(options: GatewayOptions, admin: RequestListener, call: Call): void {
  const { request, response, route, query } = call;
  const caller = contextOf(request);
  const fault = baggageFault(caller.baggage);
  if (fault !== undefined) return answer(response, 400, `invalid baggage header: ${fault}\n`, TEXT);
  const context = options.tracer ? traced(options.tracer, { ...call, caller }) : caller;
  const headers = answerHeaders(context);
  if (route.kind === 'publish' || route.kind === 'bulk-publish') {
    publish(options, { route, query, request, context, headers }, response);
    return;
  }
  setHeaders(response, headers);
  if (route.kind !== 'invoke') return admin(request, response);
  const { id, method } = route;
  invokeApp(options, { id, method, query, request, response, trace: context.trace }).catch((thrown: unknown) =>
    refuse(options, response, thrown),
  );
}

/** What is no endpoint is a path of the app that a header names. */
function routeOfRequest(request: IncomingMessage, method: string, path: string): Route {
  const route = routeOf(method, path);
  const id = route.kind === 'none' || route.kind === 'invoke' ? header(request, 'dapr-app-id') : undefined;
  return id ? { kind: 'invoke', id, method: path } : route;
}

/** Health and metadata for probes from outside: no token, no body, nothing that changes anything. */
export function createPublicGateway(options: GatewayOptions): RequestListener {
  const admin = lazyAdmin(options);
  return function handle(request, response) {
    const { path, query } = splitTarget(request.url ?? '/');
    const route = request.method === 'GET' ? routeOf('GET', path) : NO_ROUTE;
    if (isOpen(route)) health(options, route, query, response);
    else if (route.kind === 'metadata') admin(request, response);
    else answer(response, 404, '404 page not found\n', TEXT);
  };
}

const TEXT = 'text/plain; charset=utf-8';

/** Koa's part, loaded with the first request for it. */
function lazyAdmin(options: GatewayOptions): RequestListener {
  let loading: Promise<RequestListener> | undefined;
  return (request, response) => {
    (loading ??= import('./admin.ts').then(({ createAdmin }) => createAdmin(options))).then(
      (admin) => admin(request, response),
      (error: unknown) => refuse(options, response, error),
    );
  };
}

interface PublishRoute {
  readonly route: Extract<Route, { kind: 'publish' | 'bulk-publish' }>;
  readonly query: string;
  readonly request: IncomingMessage;
  readonly context: CallContext;
  /** Of the answer. */
  readonly headers: Record<string, string>;
}

/** Whether a route is served without a token. */
const isOpen = (route: Route): boolean => route.kind === 'healthz' || route.kind === 'outbound';

function health(options: GatewayOptions, route: Route, query: string, response: ServerResponse): void {
  try {
    if (route.kind === 'outbound') refuseOutbound(options);
    else refuseUnready(options, query);
    response.writeHead(204).end();
  } catch (error) {
    refuse(options, response, error);
  }
}

function refuseOutbound({ outboundReady }: GatewayOptions): void {
  if (!outboundReady()) throw new SidecarError('outbound-not-ready', 'dapr outbound is not ready');
}

function refuseUnready({ appId, notReady }: GatewayOptions, query: string): void {
  const asked = new URLSearchParams(query).get('appid');
  if (asked && asked !== appId) throw new SidecarError('app-id-mismatch', 'dapr app-id does not match');
  const targets = notReady();
  if (targets.length > 0) throw new SidecarError('not-ready', `dapr is not ready: [${targets.join(' ')}]`);
}

function publish(
  options: GatewayOptions,
  { route, query, request, context, headers }: PublishRoute,
  response: ServerResponse,
): void {
  const carryOut = route.kind === 'publish' ? publishEvent : publishBulk;
  const { pubsubName, topic } = route;
  carryOut(options, { pubsubName, topic, query, request, context }).then(
    () => {
      response.writeHead(204, headers).end();
    },
    (thrown: unknown) => {
      setHeaders(response, headers);
      const isBulkFailure = route.kind === 'bulk-publish' && thrown instanceof PublishError;
      if (!isBulkFailure) return refuse(options, response, thrown);
      options.onError?.(thrown);
      setHeaders(response, bulkHeadersOf(thrown));
      answer(response, thrown.row.http, bulkBodyOf(thrown));
    },
  );
}

function refuse({ onError }: GatewayOptions, response: ServerResponse, thrown: unknown): void {
  const error = SidecarError.from(thrown);
  onError?.(error);
  answer(response, error.row.http, bodyOf(error));
}

/** One by one: answers over HTTP/2 have neither `setHeaders` nor a `setHeader` that gives the answer back. */
function setHeaders(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
}

/** Writes an answer; where the request was not read to its end the connection is given up with it. */
function answer(response: ServerResponse, status: number, body: string, type = 'application/json'): void {
  if (response.headersSent || response.destroyed) return;
  if (!response.req.complete && response.req.httpVersionMajor < 2) response.setHeader('connection', 'close');
  setHeaders(response, { 'content-type': type, 'content-length': String(Buffer.byteLength(body)) });
  response.writeHead(status).end(body);
}
