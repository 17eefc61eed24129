/** What routes are called: in the lists of allowed and denied APIs, and where their URLs are not to be shown. */

import type { ApiAccess } from '../core/api-access.ts';
import { clean, NO_ROUTE, type Route } from './path.ts';

/** A route that may not be called is none. Health may always be asked for. */
export function permitted(access: ApiAccess, route: Route, path: string): Route {
  const endpoint = ENDPOINTS[route.kind];
  if (endpoint === undefined) return route;
  const inUrl = route.kind === 'invoke' ? 'v1.0' : (clean(path).split('/')[1] as string);
  const version = inUrl === 'v1.0-alpha1' ? 'v1alpha1' : 'v1';
  const name = endpoint.split('/')[0] as string;
  return access.allows('http', { name, version, url: `${inUrl}/${endpoint}` }) ? route : NO_ROUTE;
}

/** What rules name is the route and not what a caller wrote to get there. */
const ENDPOINTS: Readonly<Partial<Record<Route['kind'], string>>> = {
  publish: 'publish/{pubsubname}/*',
  'bulk-publish': 'publish/bulk/{pubsubname}/*',
  metadata: 'metadata',
  'set-metadata': 'metadata/{key}',
  parked: 'parked',
  'deliver-parked': 'parked/{pubsubname}/*',
  shutdown: 'shutdown',
  invoke: 'invoke/*',
};

/** What a route is called where its URL is not to be shown. */
export const apiName = (route: Route): string =>
  route.kind === 'invoke' ? `${API_NAMES.invoke}/${route.id}` : API_NAMES[route.kind];

const API_NAMES: Readonly<Record<Route['kind'], string>> = {
  publish: 'PublishEvent',
  'bulk-publish': 'BulkPublishEvent',
  metadata: 'GetMetadata',
  'set-metadata': 'SetMetadata',
  parked: 'GetParked',
  'deliver-parked': 'DeliverParked',
  shutdown: 'Shutdown',
  healthz: 'Healthz',
  outbound: 'HealthzOutbound',
  invoke: 'InvokeService',
  none: 'Unknown',
};
