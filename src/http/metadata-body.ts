/** The metadata endpoint's JSON, which is not protobuf's JSON of the same message (contract 12.4). */

import {
  ActorRuntime_ActorRuntimeStatus as ActorStatus,
  PubsubSubscriptionType as Kind,
  type AppConnectionProperties,
  type GetMetadataResponse,
  type PubsubSubscription,
} from '../../gen/dapr/proto/runtime/v1/metadata.ts';

/** One line of JSON. Members that are empty are left out, but for those that clients read without asking. */
export function metadataBody(response: GetMetadataResponse): string {
  const { actorRuntime: actors } = response;
  const body = {
    id: response.id,
    runtimeVersion: response.runtimeVersion,
    ...filled('enabledFeatures', response.enabledFeatures),
    ...filled(
      'components',
      response.registeredComponents.map(({ name, type, version, capabilities }) => ({
        name,
        type,
        version,
        ...filled('capabilities', capabilities),
      })),
    ),
    extended: response.extendedMetadata,
    ...filled('subscriptions', response.subscriptions.map(subscriptionOf)),
    ...filled('httpEndpoints', response.httpEndpoints),
    appConnectionProperties: connectionOf(response.appConnectionProperties),
    actorRuntime: {
      runtimeStatus: nameOf(ActorStatus, actors?.runtimeStatus ?? 0),
      hostReady: actors?.hostReady ?? false,
      ...(actors?.placement && { placement: actors.placement }),
    },
    ...filled('resiliencies', response.resiliencies),
  };
  return `${JSON.stringify(body)}\n`;
}

function filled<T>(name: string, list: readonly T[]): Record<string, readonly T[]> {
  return list.length > 0 ? { [name]: list } : {};
}

function subscriptionOf(subscription: PubsubSubscription): object {
  const { pubsubName, topic, metadata, rules, deadLetterTopic, type } = subscription;
  return {
    pubsubname: pubsubName,
    topic,
    ...(Object.keys(metadata).length > 0 && { metadata }),
    ...filled(
      'rules',
      (rules?.rules ?? []).map(({ match, path }) => ({ ...(match && { match }), ...(path && { path }) })),
    ),
    deadLetterTopic,
    type: nameOf(Kind, type),
  };
}

function connectionOf(properties: AppConnectionProperties | undefined): object {
  if (!properties) return {};
  const { port, protocol, channelAddress, maxConcurrency, health } = properties;
  return {
    ...(port && { port }),
    protocol,
    channelAddress,
    ...(maxConcurrency && { maxConcurrency }),
    ...(health && {
      health: {
        ...(health.healthCheckPath && { healthCheckPath: health.healthCheckPath }),
        healthProbeInterval: health.healthProbeInterval,
        healthProbeTimeout: health.healthProbeTimeout,
        healthThreshold: health.healthThreshold,
      },
    }),
  };
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? '';
}
