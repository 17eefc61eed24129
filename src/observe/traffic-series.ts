/** Series of requests: those that the API served, and those that the app was sent (contract 12.1). */

import { METHODS } from 'node:http';
import type { GrpcExchange, HttpExchange, OnMessage, Traffic } from '../core/traffic.ts';
import { pathLabels, type PathSettings } from './path-label.ts';
import { Memo, OTHERS, type Distribution, type Exposition, type Labels, type Metric, type Tally } from './series.ts';

export interface TrafficSettings extends PathSettings {
  /** Whether methods of HTTP are left out of the labels. */
  readonly excludeVerbs: boolean;
}

/** Counts both directions over both protocols under Dapr's names. */
export function countTraffic(exposition: Exposition, appId: string, settings: TrafficSettings): Traffic {
  const served = new HttpSeries(exposition, 'server', appId, settings);
  const called = new HttpSeries(exposition, 'client', appId, settings);
  const grpcServed = new GrpcSeries(exposition, 'server', appId);
  const grpcCalled = new GrpcSeries(exposition, 'client', appId);
  const httpProbes = new Probes(exposition, 'http', 'status', appId);
  const grpcProbes = new Probes(exposition, 'grpc_io', 'grpc_client_status', appId);
  return {
    httpServed: (exchange) => served.count(exchange),
    httpCalled: (exchange) => called.count(exchange),
    grpcServed: (exchange) => {
      grpcServed.count(exchange);
      if (exchange.code !== 0) grpcServed.weigh(exchange.method, 'sent', 0);
    },
    grpcMessage: grpcServed.weigh,
    grpcCalled: (exchange) => {
      grpcCalled.count(exchange);
      grpcCalled.weigh(exchange.method, 'sent', exchange.sent);
      grpcCalled.weigh(exchange.method, 'received', exchange.received);
    },
    httpProbed: (status, ms) => httpProbes.count(String(status), ms),
    grpcProbed: (code, ms) => grpcProbes.count(codeName(code), ms),
  };
}

/** Over HTTP/2 a client may call its method what it likes. */
const KNOWN_METHODS = new Set(METHODS);

const REQUEST = ['app_id', 'method', 'path', 'status'];

/** What counts one kind of exchange. */
interface Counted {
  readonly answered: Tally;
  readonly requests: Tally | undefined;
  readonly latency: Distribution;
  readonly sent: Distribution;
  readonly received: Distribution;
}

/** Of the server the one is the request and the other the answer, of the client the other way round. */
class HttpSeries {
  private readonly memo = new Memo<string, Counted>();
  private readonly settings: TrafficSettings;
  private readonly appId: string;
  private readonly labelOf: (path: string) => string;
  private readonly answered: Metric<Tally>;
  /** The older name of the same, which Dapr has where paths are labels. */
  private readonly responses: Metric<Tally> | undefined;
  private readonly latency: Metric<Distribution>;
  private readonly sent: Metric<Distribution>;
  private readonly received: Metric<Distribution>;
  private readonly isServer: boolean;

  constructor(exposition: Exposition, side: 'server' | 'client', appId: string, settings: TrafficSettings) {
    this.settings = settings;
    this.appId = appId;
    const isServer = (this.isServer = side === 'server');
    this.labelOf = pathLabels(settings, isServer ? 'empty' : 'as-it-is');
    const name = (what: string): string => `dapr_http_${side}_${what}`;
    const app = ['app_id'];
    this.answered = exposition.counter(name(isServer ? 'request_count' : 'completed_count'), 'Requests.', REQUEST);
    this.latency = exposition.latency(name(isServer ? 'latency' : 'roundtrip_latency'), LATENCY, REQUEST);
    this.sent = exposition.size(name(isServer ? 'response_bytes' : 'sent_bytes'), SENT, isServer ? app : REQUEST);
    this.received = exposition.size(name(isServer ? 'request_bytes' : 'received_bytes'), RECEIVED, app);
    if (isServer && settings.increasedCardinality) {
      this.responses = exposition.counter(name('response_count'), 'Answers.', REQUEST);
    }
  }

  count({ method, path, status, ms, sent, received }: HttpExchange): void {
    const counted = this.memo.get(`${method} ${status} ${path}`, () => this.find(method, path, String(status)));
    counted.answered.value++;
    if (counted.requests) counted.requests.value++;
    counted.latency.observe(ms);
    counted.sent.observe(sent);
    counted.received.observe(received);
  }

  private find(method: string, path: string, status: string): Counted {
    const request = {
      app_id: this.appId,
      method: this.settings.excludeVerbs ? '' : KNOWN_METHODS.has(method) ? method : OTHERS,
      path: this.labelOf(path),
    };
    const labels: Labels = { ...request, status };
    return {
      answered: this.answered.of(labels),
      requests: this.responses?.of(labels),
      latency: this.latency.of(labels),
      sent: this.sent.of(this.isServer ? { app_id: this.appId } : request),
      received: this.received.of({ app_id: this.appId }),
    };
  }
}

const LATENCY = 'Time until a request was answered, milliseconds.';
const SENT = 'Bytes that were sent.';
const RECEIVED = 'Bytes that were received.';

class GrpcSeries {
  private readonly calls = new Memo<string, { readonly completed: Tally; readonly latency: Distribution }>();
  private readonly sizes = { received: new Memo<string, Distribution>(), sent: new Memo<string, Distribution>() };
  private readonly appId: string;
  private readonly side: 'server' | 'client';
  private readonly completed: Metric<Tally>;
  private readonly latency: Metric<Distribution>;
  private readonly bytes: { readonly received: Metric<Distribution>; readonly sent: Metric<Distribution> };

  constructor(exposition: Exposition, side: 'server' | 'client', appId: string) {
    this.appId = appId;
    this.side = side;
    const name = (what: string): string => `dapr_grpc_io_${side}_${what}`;
    const method = ['app_id', `grpc_${side}_method`];
    const call = [...method, `grpc_${side}_status`];
    this.completed = exposition.counter(name('completed_rpcs'), 'Unary calls.', call);
    this.latency = exposition.latency(name(side === 'server' ? 'server_latency' : 'roundtrip_latency'), LATENCY, call);
    this.bytes = {
      received: exposition.size(name('received_bytes_per_rpc'), RECEIVED, method),
      sent: exposition.size(name('sent_bytes_per_rpc'), SENT, method),
    };
  }

  count({ method, code, ms }: GrpcExchange): void {
    const counted = this.calls.get(`${code} ${method}`, () => {
      const labels = { ...this.of(method), [`grpc_${this.side}_status`]: codeName(code) };
      return { completed: this.completed.of(labels), latency: this.latency.of(labels) };
    });
    counted.completed.value++;
    counted.latency.observe(ms);
  }

  readonly weigh: OnMessage = (method, direction, bytes) =>
    this.sizes[direction].get(method, () => this.bytes[direction].of(this.of(method))).observe(bytes);

  private of(method: string): Labels {
    return { app_id: this.appId, [`grpc_${this.side}_method`]: method };
  }
}

class Probes {
  private readonly appId: string;
  private readonly statusLabel: string;
  private readonly completed: Metric<Tally>;
  private readonly latency: Metric<Distribution>;

  constructor(exposition: Exposition, protocol: 'http' | 'grpc_io', statusLabel: string, appId: string) {
    this.appId = appId;
    this.statusLabel = statusLabel;
    const labels = ['app_id', statusLabel];
    const name = `dapr_${protocol}_healthprobes`;
    this.completed = exposition.counter(`${name}_completed_count`, 'Health checks of the app.', labels);
    this.latency = exposition.latency(`${name}_roundtrip_latency`, LATENCY, labels);
  }

  count(status: string, ms: number): void {
    const labels = { app_id: this.appId, [this.statusLabel]: status };
    this.completed.of(labels).value++;
    this.latency.of(labels).observe(ms);
  }
}

/** Codes as Go prints them. */
const CODE_NAMES = [
  ...['OK', 'Canceled', 'Unknown', 'InvalidArgument', 'DeadlineExceeded', 'NotFound', 'AlreadyExists'],
  ...['PermissionDenied', 'ResourceExhausted', 'FailedPrecondition', 'Aborted', 'OutOfRange', 'Unimplemented'],
  ...['Internal', 'Unavailable', 'DataLoss', 'Unauthenticated'],
];

const codeName = (code: number): string => CODE_NAMES[code] ?? `Code(${code})`;
