/**
 * The HTTP API. Every request passes `handle`: token, route, answer. Publishing and health are answered here: the hot
 * path, and what probes ask all day. Koa serves the rest and is loaded when first asked for something: it is 11 MB.
 */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { ApiAccess } from '../core/api-access.ts';
import { SidecarError } from '../core/errors.ts';
import { PublishError } from '../core/publisher.ts';
import { ZERO_TRACEPARENT } from '../core/trace.ts';
import { hasToken } from '../rpc/bind.ts';
import { allowOrigin } from './cors.ts';
import { bodyOf, bulkBodyOf } from './error-body.ts';
import { BadEscape, clean, routeOf, splitTarget, type Route } from './path.ts';
import { publishBulk, publishEvent, type PublishPort } from './publish.ts';
import { contextOf, header } from './request-context.ts';

export interface GatewayOptions extends PublishPort {
  /** Required of every request but health checks; empty: none. */
  readonly apiToken: string;
  /** Origins that browsers may call from. */
  readonly allowedOrigins: readonly string[];
  readonly access: ApiAccess;
  /** Whether publishing works: components and servers are up. */
  readonly outboundReady: () => boolean;
  /** What is not ready yet; empty when everything is. */
  readonly notReady: () => readonly string[];
  readonly onRequest: (method: string, path: string, status: number, ms: number, userAgent: string) => void;
}

/** The handler of every listening server. Never throws and always answers. */
export function createGateway(options: GatewayOptions): RequestListener {
  const admin = lazyAdmin(options);
  return function handle(request, response) {
    const started = performance.now();
    const { path, query } = splitTarget(request.url ?? '/');
    const method = request.method ?? 'GET';
    response.once('close', () => {
      const userAgent = request.headers['user-agent'] ?? '';
      options.onRequest(method, path, response.statusCode, performance.now() - started, userAgent);
    });
    if (allowOrigin(options.allowedOrigins, request, response)) return;
    let route: Route;
    try {
      route = permitted(options.access, routeOf(method, path), path);
    } catch (error) {
      if (!(error instanceof BadEscape)) throw error;
      return answer(response, 400, error.message, 'text/plain; charset=utf-8');
    }
    if (!isOpen(route) && !hasToken(options.apiToken, header(request, 'dapr-api-token'))) {
      response.setHeader('x-content-type-options', 'nosniff');
      return answer(response, 401, 'invalid api token\n', 'text/plain; charset=utf-8');
    }
    if (route.kind === 'publish' || route.kind === 'bulk-publish') publish(options, route, query, request, response);
    else if (isOpen(route)) health(options, route, query, response);
    else admin(request, response);
  };
}

/** Health and metadata for probes from outside: no token, no body, nothing that changes anything. */
export function createPublicGateway(options: GatewayOptions): RequestListener {
  const admin = lazyAdmin(options);
  return function handle(request, response) {
    const { path, query } = splitTarget(request.url ?? '/');
    const route = request.method === 'GET' ? routeOf('GET', path) : NOTHING;
    if (route.kind === 'none') answer(response, 404, '404 page not found\n', 'text/plain; charset=utf-8');
    else if (isOpen(route)) health(options, route, query, response);
    else admin(request, response);
  };
}

const NOTHING: Route = { kind: 'none' };

/** A route that may not be called is none. Health may always be asked for. */
export function permitted(access: ApiAccess, route: Route, path: string): Route {
  const endpoint = ENDPOINTS[route.kind];
  if (endpoint === undefined) return route;
  const inUrl = clean(path).split('/')[1] as string;
  const version = inUrl === 'v1.0-alpha1' ? 'v1alpha1' : 'v1';
  const name = endpoint.split('/')[0] as string;
  return access.allows('http', { name, version, url: `${inUrl}/${endpoint}` }) ? route : NOTHING;
}

/** What rules name is the route and not what a caller wrote to get there. */
const ENDPOINTS: Readonly<Partial<Record<Route['kind'], string>>> = {
  publish: 'publish/{pubsubname}/*',
  'bulk-publish': 'publish/bulk/{pubsubname}/*',
  metadata: 'metadata',
  'set-metadata': 'metadata/{key}',
  shutdown: 'shutdown',
};

/** Koa's part, loaded with the first request for it. */
function lazyAdmin(options: GatewayOptions): RequestListener {
  let loading: Promise<RequestListener> | undefined;
  return (request, response) => {
    (loading ??= import('./admin.ts').then(({ createAdmin }) => createAdmin(options))).then(
      (admin) => admin(request, response),
      (error: unknown) => refuse(response, error),
    );
  };
}

/** Whether a route is served without a token. */
const isOpen = (route: Route): boolean => route.kind === 'healthz' || route.kind === 'outbound';

function health(options: GatewayOptions, route: Route, query: string, response: ServerResponse): void {
  try {
    if (route.kind === 'outbound') refuseOutbound(options);
    else refuseUnready(options, query);
    response.writeHead(204).end();
  } catch (error) {
    refuse(response, error);
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
  route: Extract<Route, { topic: string }>,
  query: string,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const context = contextOf(request);
  const traceparent = context.trace.traceparent || ZERO_TRACEPARENT;
  const carryOut = route.kind === 'publish' ? publishEvent : publishBulk;
  const { pubsubName, topic } = route;
  carryOut(options, { pubsubName, topic, query, request, context }).then(
    () => {
      response.writeHead(204, { traceparent }).end();
    },
    (thrown: unknown) => {
      response.setHeader('traceparent', traceparent);
      const isBulkFailure = route.kind === 'bulk-publish' && thrown instanceof PublishError;
      if (isBulkFailure) answer(response, thrown.row.http, bulkBodyOf(thrown));
      else refuse(response, thrown);
    },
  );
}

function refuse(response: ServerResponse, thrown: unknown): void {
  const error = SidecarError.from(thrown);
  answer(response, error.row.http, bodyOf(error));
}

/** Writes an answer; where the request was not read to its end the connection is given up with it. */
function answer(response: ServerResponse, status: number, body: string, type = 'application/json'): void {
  if (response.headersSent || response.destroyed) return;
  if (!response.req.complete && response.req.httpVersionMajor < 2) response.setHeader('connection', 'close');
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) }).end(body);
}
