/** What the sidecar tells of itself (contract 12.4), built from what it was started with and what it loaded. */

import {
  ActorRuntime_ActorRuntimeStatus as ActorStatus,
  PubsubSubscriptionType,
  type AppConnectionProperties,
  type GetMetadataResponse,
  type PubsubSubscription,
  type RegisteredComponents,
} from '../../gen/dapr/proto/runtime/v1/metadata.ts';
import type { SubscriptionSpec } from '../core/subscription.ts';
import { formatGoDuration } from '../lib/duration.ts';

/** How the app is probed. Times are milliseconds; an empty path: the protocol has none. */
export interface AppHealthDescription {
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly threshold: number;
}

export interface Description {
  readonly appId: string;
  readonly version: string;
  readonly enabledFeatures: readonly string[];
  readonly components: readonly { name: string; type: string; version: string; capabilities: readonly string[] }[];
  readonly subscriptions: readonly SubscriptionSpec[];
  readonly resiliencies: readonly string[];
  readonly httpEndpoints: readonly string[];
  /** Custom values by key, as clients set them. */
  readonly extended: ReadonlyMap<string, string>;
  /** Undefined where nobody looks after the app's health. */
  readonly appHealth: AppHealthDescription | undefined;
  readonly app: {
    readonly port: number;
    readonly protocol: string;
    readonly address: string;
    readonly maxConcurrency: number;
  };
}

export function metadataOf(description: Description): GetMetadataResponse {
  const { appId, version, extended } = description;
  return {
    id: appId,
    activeActorsCount: [],
    registeredComponents: description.components.map((component): RegisteredComponents => ({
      ...component,
      capabilities: [...component.capabilities],
    })),
    extendedMetadata: { ...Object.fromEntries(extended), daprRuntimeVersion: version },
    subscriptions: description.subscriptions.map(subscriptionOf),
    httpEndpoints: description.httpEndpoints.map((name) => ({ name })),
    appConnectionProperties: connectionOf(description),
    runtimeVersion: version,
    enabledFeatures: [...description.enabledFeatures],
    actorRuntime: {
      runtimeStatus: ActorStatus.DISABLED,
      activeActors: [],
      hostReady: false,
      placement: 'placement: disconnected',
    },
    resiliencies: description.resiliencies.map((name) => ({ name })),
  };
}

function connectionOf({ app, appHealth }: Description): AppConnectionProperties {
  const { port, protocol, address, maxConcurrency } = app;
  const health = appHealth && {
    healthCheckPath: appHealth.path,
    healthProbeInterval: formatGoDuration(appHealth.intervalMs),
    healthProbeTimeout: formatGoDuration(appHealth.timeoutMs),
    healthThreshold: appHealth.threshold,
  };
  return { port, protocol, channelAddress: address, maxConcurrency, health };
}

function subscriptionOf(spec: SubscriptionSpec): PubsubSubscription {
  return {
    pubsubName: spec.pubsubName,
    topic: spec.topic,
    metadata: { ...spec.metadata },
    rules: spec.rules.length > 0 ? { rules: spec.rules.map((rule) => ({ ...rule })) } : undefined,
    deadLetterTopic: spec.deadLetterTopic,
    type: PubsubSubscriptionType[spec.kind],
  };
}
