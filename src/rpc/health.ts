/** The standard health service. Dapr does not offer it; probes that speak only gRPC are glad of it. */

import {
  HealthCheckResponse,
  HealthCheckResponse_ServingStatus as Serving,
  HealthService,
} from '../../gen/grpc/health/v1/health.ts';
import type { ServerCall } from './call.ts';

/** Serves `ready`, asked anew for each call; a watcher hears of each change through `onChange`. */
export function createHealth(
  ready: () => boolean,
  onChange: (listener: () => void) => () => void,
): Readonly<Record<string, (call: ServerCall) => void>> {
  const now = (): Uint8Array =>
    HealthCheckResponse.encode({ status: ready() ? Serving.SERVING : Serving.NOT_SERVING }).finish();
  const check = (call: ServerCall): void =>
    call.read({ message: () => call.end(undefined, now()), end: () => call.end() });
  const watch = (call: ServerCall): void => {
    call.write(now());
    call.onCancelled(onChange(() => call.write(now())));
    call.read({ message: () => undefined, end: () => undefined });
  };
  return { [HealthService.check.path]: check, [HealthService.watch.path]: watch };
}
