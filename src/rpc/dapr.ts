/**
 * The API, once: `dapr.proto.runtime.v1.Dapr` as an object of async methods. gRPC binds it, the HTTP gateway calls
 * it in process.
 */

import type { Empty } from '../../gen/google/protobuf/empty.ts';
import type { InvokeResponse } from '../../gen/dapr/proto/common/v1/common.ts';
import type { ShutdownRequest } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import type { InvokeServiceRequest } from '../../gen/dapr/proto/runtime/v1/invoke.ts';
import type {
  GetMetadataRequest,
  GetMetadataResponse,
  SetMetadataRequest,
} from '../../gen/dapr/proto/runtime/v1/metadata.ts';
import type {
  BulkPublishRequest,
  BulkPublishResponse,
  PublishEventRequest,
} from '../../gen/dapr/proto/runtime/v1/pubsub.ts';
import type { Invoke } from '../core/invocation.ts';
import { saysRaw } from '../core/metadata.ts';
import { SINGLE, type PublishEntry, type Publisher } from '../core/publisher.ts';
import type { Span } from '../core/tracer.ts';
import type { CallContext } from './bind.ts';
import { invocationOf, responseOf } from './invoke.ts';

/** What the sidecar tells of itself and can be told; made by the composition root. */
export interface Self {
  metadata(): GetMetadataResponse;
  setMetadata(key: string, value: string): void;
  readonly invoke: Invoke;
  /** Starts to stop; returns before it has. `force` ends the process without draining. */
  shutdown(force: boolean): void;
}

export type DaprApi = ReturnType<typeof createDapr>;

export function createDapr(publisher: Publisher, self: Self) {
  const bulkPublishEvent = async (request: BulkPublishRequest, context: CallContext): Promise<BulkPublishResponse> => {
    const { pubsubName, topic, metadata } = request;
    const entries = request.entries.map((entry) => toEntry(entry, metadata, context));
    const { spans: begin } = context;
    const spans = begin && !saysRaw(metadata) ? entries.map(() => begin.entry(topic)) : [];
    const traced = spans.length > 0 ? entries.map((entry, at) => ({ ...entry, ...traceOf(spans[at]) })) : entries;
    await publisher
      .publish({ pubsubName, topic, metadata, ...callerOf(context) }, traced)
      .finally(() => spans.forEach((span) => span.end()));
    return { failedEntries: [] };
  };
  return {
    publishEvent: async (request: PublishEventRequest, context: CallContext): Promise<Empty> => {
      const { pubsubName, topic, data, dataContentType: contentType, metadata } = request;
      const sent = rawTrace(metadata, context);
      await publisher.publish({ pubsubName, topic, metadata, ...callerOf(context) }, [
        { id: SINGLE, data, contentType, metadata: sent },
      ]);
      return {};
    },
    bulkPublishEvent,
    bulkPublishEventAlpha1: bulkPublishEvent,
    getMetadata: async (_request: GetMetadataRequest): Promise<GetMetadataResponse> => self.metadata(),
    setMetadata: async ({ key, value }: SetMetadataRequest): Promise<Empty> => {
      if (key !== '') self.setMetadata(key, value);
      return {};
    },
    invokeService: async (request: InvokeServiceRequest, context: CallContext): Promise<InvokeResponse> => {
      const { headers, signal } = context.passOn?.() ?? { headers: [], signal: new AbortController().signal };
      return responseOf(await self.invoke(invocationOf(request, headers, context.trace), signal));
    },
    shutdown: async (_request: ShutdownRequest, context: CallContext): Promise<Empty> => {
      self.shutdown(context.header('dapr-force-shutdown')?.toLowerCase() === 'true');
      return {};
    },
  };
}

const traceOf = (span: Span | undefined): Pick<PublishEntry, 'trace'> => (span ? { trace: span.trace } : {});

const callerOf = ({ trace, baggage, protocol }: CallContext) => ({ trace, baggage, protocol });

/** Raw bytes have no envelope for the trace, so on gRPC it travels in the metadata (the HTTP API of Dapr does not do that). */
function rawTrace(metadata: Record<string, string>, { protocol, trace }: CallContext): Record<string, string> {
  if (protocol !== 'grpc' || !saysRaw(metadata)) return metadata;
  return { ...metadata, traceid: trace.traceparent, tracestate: trace.tracestate };
}

/**
 * An entry with the request's metadata beneath its own. As in Dapr an entry that came without any gets none of the
 * request's: on gRPC an empty map is none, over HTTP the property must be absent.
 */
function toEntry(
  entry: BulkPublishRequest['entries'][number],
  shared: Record<string, string>,
  { protocol }: CallContext,
): PublishEntry {
  const { entryId: id, event: data, contentType, metadata } = entry;
  const own = metadata as Record<string, string> | undefined;
  const given = own !== undefined && (protocol === 'http' || Object.keys(own).length > 0);
  return { id, data, contentType, metadata: given ? { ...shared, ...own } : {} };
}
