/**
 * Prometheus series of the calls of the API under Dapr's names (contract 12.1). They are plain numbers until they are
 * scraped: each request counts, and none waits for the library that the other series need.
 */

import type { SidecarError } from '../core/errors.ts';
import { pathPatterns } from './path-patterns.ts';

export interface RequestSeriesOptions {
  readonly appId: string;
  /** Whether a path that fits no pattern is told as it is; else as an empty one. */
  readonly increasedCardinality: boolean;
  readonly pathMatching: readonly string[];
  /** Whether the method is told as an empty one. */
  readonly excludeVerbs: boolean;
  /** Milliseconds, rising. */
  readonly latencyBuckets: readonly number[];
  /** Whether errors count by their codes. */
  readonly recordErrorCodes: boolean;
}

/** A request that was answered. */
export interface CountedRequest {
  readonly method: string;
  /** Cleaned, without the query. */
  readonly path: string;
  readonly status: number;
  readonly ms: number;
  /** Bytes of the bodies. */
  readonly received: number;
  readonly size: number;
}

type Labels = readonly (readonly [name: string, value: string])[];

/** Paths are what clients make them: those of more requests of different kinds than this are told as one. */
const MAX_KINDS = 500;
const OTHER_PATHS = '_other';
const SIZE_BUCKETS = [1, 2, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304].map((k) => k * 1024);
/** As Go's library spells them. */
const CODES = (
  'OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted ' +
  'FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated'
).split(' ');

export class RequestSeries {
  private readonly options: RequestSeriesOptions;
  private readonly patternOf: (path: string) => string | undefined;
  private readonly http = new Map<string, Histogram>();
  private readonly grpc = new Map<string, Histogram>();
  private readonly errors = new Map<string, Histogram>();
  private readonly received: Histogram;
  private readonly sent: Histogram;

  constructor(options: RequestSeriesOptions) {
    this.options = options;
    this.patternOf = pathPatterns(options.pathMatching);
    const labels = [['app_id', options.appId]] as const;
    this.received = new Histogram(labels, SIZE_BUCKETS);
    this.sent = new Histogram(labels, SIZE_BUCKETS);
  }

  readonly onHttp = ({ method, path, status, ms, received, size }: CountedRequest): void => {
    const { increasedCardinality, excludeVerbs } = this.options;
    const known = this.patternOf(path) ?? (increasedCardinality ? path : '');
    const labels = { method: excludeVerbs ? '' : method, path: known, status: String(status) };
    const place =
      this.http.size < MAX_KINDS || this.http.has(keyOf(labels)) ? labels : { ...labels, path: OTHER_PATHS };
    this.at(this.http, place).observe(ms);
    this.received.observe(received);
    this.sent.observe(size);
  };

  readonly onGrpc = (method: string, code: number, ms: number): void => {
    const status = CODES[code] ?? String(code);
    this.at(this.grpc, { grpc_server_method: method, grpc_server_status: status }).observe(ms);
  };

  readonly onError = ({ row: { category, tag } }: SidecarError): void => {
    if (!this.options.recordErrorCodes || category === '') return;
    this.at(this.errors, { category, error_code: tag }).observe(0);
  };

  /** The text of a scrape. */
  render(): string {
    const [http, grpc, errors] = [[...this.http.values()], [...this.grpc.values()], [...this.errors.values()]];
    return [
      ...counters('dapr_http_server_request_count', 'Number of HTTP requests that were answered.', http),
      ...counters('dapr_http_server_response_count', 'Number of answers to HTTP requests.', http),
      ...histograms('dapr_http_server_latency', 'Latency of HTTP requests, milliseconds.', http),
      ...histograms('dapr_http_server_request_bytes', 'Bytes of the bodies of HTTP requests.', [this.received]),
      ...histograms('dapr_http_server_response_bytes', 'Bytes of the bodies of answers over HTTP.', [this.sent]),
      ...counters('dapr_grpc_io_server_completed_rpcs', 'Number of gRPC calls that were answered.', grpc),
      ...histograms('dapr_grpc_io_server_server_latency', 'Latency of gRPC calls, milliseconds.', grpc),
      ...(errors.length > 0 ? counters('dapr_error_code_total', 'Number of errors of the API.', errors) : []),
      '',
    ].join('\n');
  }

  private at(all: Map<string, Histogram>, labels: Readonly<Record<string, string>>): Histogram {
    const key = keyOf(labels);
    const known = all.get(key);
    if (known) return known;
    const { appId, latencyBuckets } = this.options;
    const made = new Histogram([['app_id', appId], ...Object.entries(labels)], latencyBuckets);
    all.set(key, made);
    return made;
  }
}

const keyOf = (labels: Readonly<Record<string, string>>): string => Object.values(labels).join('\0');

class Histogram {
  readonly labels: Labels;
  readonly bounds: readonly number[];
  /** How many fell into each bucket; the last one has no bound. */
  readonly counts: number[];
  sum = 0;
  count = 0;

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.bounds = bounds;
    this.counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const at = this.bounds.findIndex((bound) => value <= bound);
    (this.counts[at < 0 ? this.bounds.length : at] as number)++;
    this.sum += value;
    this.count++;
  }
}

function* counters(name: string, help: string, all: readonly Histogram[]): Generator<string> {
  yield* head(name, help, 'counter');
  for (const { labels, count } of all) yield line(name, labels, count);
}

function* histograms(name: string, help: string, all: readonly Histogram[]): Generator<string> {
  yield* head(name, help, 'histogram');
  for (const { labels, bounds, counts, sum, count } of all) {
    let below = 0;
    for (const [at, bound] of bounds.entries()) {
      below += counts[at] as number;
      yield line(`${name}_bucket`, [...labels, ['le', String(bound)]], below);
    }
    yield line(`${name}_bucket`, [...labels, ['le', '+Inf']], count);
    yield line(`${name}_sum`, labels, sum);
    yield line(`${name}_count`, labels, count);
  }
}

const head = (name: string, help: string, type: string): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
];

/** Labels in the order of the alphabet: some readers join them as they come. */
function line(name: string, labels: Labels, value: number): string {
  const sorted = labels.toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `${name}{${sorted.map(([label, text]) => `${label}="${escaped(text)}"`).join(',')}} ${value}`;
}

const escaped = (text: string): string => text.replace(/["\\\n]/g, (c) => (c === '\n' ? '\\n' : `\\${c}`));
