/** Collectors of spans: what listens is ours, what it is sent are the real protocols (OTLP over gRPC and HTTP, Zipkin). */

import { createServer, type IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type MethodDefinition,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ExecutionContext } from 'ava';

export interface CollectedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly tracestate: string;
  /** As OTLP numbers them: 3 client, 4 producer. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
  /** Of the status: empty without a fault. */
  readonly fault: string;
}

export interface Collector {
  readonly port: number;
  readonly spans: readonly CollectedSpan[];
  /** Of every request. */
  readonly headers: readonly Readonly<Record<string, unknown>>[];
  readonly paths: readonly string[];
  named(name: string): CollectedSpan[];
  close(): Promise<void>;
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>> & { readonly value: string };
}
interface Request {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
  }[];
}
interface RawSpan {
  readonly name: string;
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parentSpanId: Buffer;
  readonly traceState: string;
  readonly kind: number;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly message: string; readonly code: number } | null;
}

const PROTO = loadSync(join(import.meta.dirname, 'otlp.proto'), { defaults: true, oneofs: true });
const SERVICE = 'opentelemetry.proto.collector.trace.v1.TraceService';
const EXPORT = (PROTO[SERVICE] as ServiceDefinition)['Export'] as MethodDefinition<Request, object>;

class Spans {
  readonly spans: CollectedSpan[] = [];
  readonly headers: Readonly<Record<string, unknown>>[] = [];
  readonly paths: string[] = [];

  named(name: string): CollectedSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  addOtlp({ resourceSpans }: Request): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      for (const span of scopeSpans.flatMap(({ spans }) => spans)) {
        this.spans.push({
          name: span.name,
          traceId: span.traceId.toString('hex'),
          spanId: span.spanId.toString('hex'),
          parentSpanId: span.parentSpanId.toString('hex'),
          tracestate: span.traceState,
          kind: span.kind,
          attributes: plain(span.attributes),
          resource: plain(resource.attributes),
          fault: span.status?.code === 2 ? span.status.message : '',
        });
      }
    }
  }

  addZipkin(spans: readonly Record<string, unknown>[]): void {
    for (const { name, traceId, id, parentId = '', kind, tags, localEndpoint } of spans) {
      this.spans.push({
        name: name as string,
        traceId: traceId as string,
        spanId: id as string,
        parentSpanId: parentId as string,
        tracestate: '',
        kind: kind === 'PRODUCER' ? 4 : 3,
        attributes: tags as Record<string, unknown>,
        resource: localEndpoint as Record<string, unknown>,
        fault: ((tags as Record<string, unknown>)['error'] as string | undefined) ?? '',
      });
    }
  }
}

const plain = (attributes: readonly Attribute[]): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value[value.value]]));

/** Over gRPC. */
export async function collectGrpc(t: ExecutionContext): Promise<Collector> {
  const all = new Spans();
  const server = new Server();
  server.addService(
    (loadPackageDefinition(PROTO) as never as Nested).opentelemetry.proto.collector.trace.v1.TraceService.service,
    {
      Export: (
        call: { request: Request; metadata: { getMap(): Record<string, unknown> } },
        done: (error: null, answer: object) => void,
      ) => {
        all.headers.push(call.metadata.getMap());
        all.addOtlp(call.request);
        done(null, {});
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, got) =>
      error ? reject(error) : resolve(got),
    );
  });
  const close = async (): Promise<void> => server.forceShutdown();
  t.teardown(close);
  return Object.assign(all, { port, close });
}

type Nested = {
  opentelemetry: { proto: { collector: { trace: { v1: { TraceService: { service: ServiceDefinition } } } } } };
};

/** Over HTTP: OTLP, and Zipkin where the path says so. Each request is answered with `status`, or never for 0. */
export async function collectHttp(t: ExecutionContext, { status = 200, port = 0 } = {}): Promise<Collector> {
  const all = new Spans();
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    all.headers.push(request.headers satisfies IncomingHttpHeaders);
    all.paths.push(request.url ?? '');
    if (status === 0) return;
    const body = Buffer.concat(chunks);
    if (request.url?.includes('/api/v2/spans')) all.addZipkin(JSON.parse(body.toString('utf8')) as []);
    else all.addOtlp(EXPORT.requestDeserialize(body));
    response.writeHead(status).end();
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  t.teardown(close);
  return Object.assign(all, { port: (server.address() as { port: number }).port, close });
}
