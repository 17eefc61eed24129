/** The standard health service. Dapr does not offer it; probes that speak only gRPC are glad of it. */

import type { sendUnaryData, ServerUnaryCall, ServerWritableStream } from '@grpc/grpc-js';
import {
  HealthCheckResponse_ServingStatus as Serving,
  type HealthCheckRequest,
  type HealthCheckResponse,
  type HealthServer,
} from '../../gen/grpc/health/v1/health.ts';

/** Serves `ready`, asked anew for each call; a watcher hears of each change through `onChange`. */
export function createHealth(ready: () => boolean, onChange: (listener: () => void) => () => void): HealthServer {
  const now = (): HealthCheckResponse => ({ status: ready() ? Serving.SERVING : Serving.NOT_SERVING });
  return {
    check: (
      _call: ServerUnaryCall<HealthCheckRequest, HealthCheckResponse>,
      respond: sendUnaryData<HealthCheckResponse>,
    ) => respond(null, now()),
    watch: (call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>) => {
      call.write(now());
      const stop = onChange(() => call.write(now()));
      call.on('cancelled', () => {
        stop();
        call.end();
      });
    },
  };
}
