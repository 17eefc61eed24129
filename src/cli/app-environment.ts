import type { RunPlan } from './run-plan.ts';
import type { ApiPorts } from './run-status.ts';

/** The app's environment: ours, where its sidecar is by every name that SDKs look for, and what the flags add. */
export function appVariables(
  { sidecar, variables, appVariables: added }: RunPlan,
  ports: ApiPorts,
  piped: boolean,
): NodeJS.ProcessEnv {
  const host = sidecar.listenAddresses.find((address) => /^127\./.test(address)) ?? '127.0.0.1';
  return {
    ...(piped && { PYTHONUNBUFFERED: '1' }),
    ...(piped && process.stdout.isTTY && variables['NO_COLOR'] === undefined && { FORCE_COLOR: '1' }),
    ...variables,
    APP_ID: sidecar.appId,
    APP_CHANNEL_ADDRESS: sidecar.appChannelAddress,
    APP_PROTOCOL: sidecar.appProtocol,
    ...(sidecar.appPort > 0 && { APP_PORT: String(sidecar.appPort) }),
    DAPR_HTTP_PORT: String(ports.httpPort),
    DAPR_GRPC_PORT: String(ports.grpcPort),
    DAPR_METRICS_PORT: String(ports.metricsPort),
    DAPR_HTTP_ENDPOINT: `http://${host}:${ports.httpPort}`,
    DAPR_GRPC_ENDPOINT: `http://${host}:${ports.grpcPort}`,
    ...added,
  };
}
