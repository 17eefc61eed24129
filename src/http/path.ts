/** What a request asks for: path cleaning, matching and decoding as Dapr's router does them (contract 3.2, 3.3). */

export type Route =
  | { readonly kind: 'publish' | 'bulk-publish'; readonly pubsubName: string; readonly topic: string }
  | { readonly kind: 'metadata' | 'parked' | 'healthz' | 'outbound' | 'shutdown' | 'none' }
  | { readonly kind: 'deliver-parked'; readonly pubsubName: string; readonly topic: string }
  | { readonly kind: 'set-metadata'; readonly key: string }
  | { readonly kind: 'invoke'; readonly id: string; readonly method: string };

export const NO_ROUTE: Route = { kind: 'none' };

/** A path parameter that is no valid escape sequence. */
export class BadEscape extends Error {}

/** The path and the query string of a request target, which may be a whole URL. One character of it is one byte. */
export function splitTarget(bytes: string): { path: string; query: string } {
  const target = /[\x80-\xff]/.test(bytes) ? Buffer.from(bytes, 'latin1').toString('utf8') : bytes;
  const relative = target.startsWith('/') ? target : target.replace(/^[a-z][a-z0-9+.-]*:\/\/[^/?]*/i, '');
  const mark = relative.indexOf('?');
  return mark < 0 ? { path: relative, query: '' } : { path: relative.slice(0, mark), query: relative.slice(mark + 1) };
}

/** Matches a cleaned path. Throws BadEscape. */
export function routeOf(method: string, path: string): Route {
  const cleaned = clean(path);
  const publishing = method === 'POST' || method === 'PUT' ? publishRoute(cleaned) : undefined;
  if (publishing) return publishing;
  const called = invokeRoute(cleaned, path);
  if (called) return called;
  if (method === 'POST')
    return cleaned === '/v1.0/shutdown' ? { kind: 'shutdown' } : (deliverRoute(cleaned) ?? NO_ROUTE);
  if (method === 'PUT') {
    const key = /^\/v1\.0\/metadata\/([^/]+)$/s.exec(cleaned);
    return key ? { kind: 'set-metadata', key: decode('key', key[1] as string) } : NO_ROUTE;
  }
  return { kind: (method === 'GET' && READS.get(cleaned)) || 'none' };
}

function deliverRoute(cleaned: string): Route | undefined {
  const [, pubsub, topic] = /^\/v1\.0\/parked\/([^/]+)\/(.+)$/s.exec(cleaned) ?? [];
  if (pubsub === undefined || topic === undefined) return undefined;
  return { kind: 'deliver-parked', pubsubName: decode('pubsubname', pubsub), topic: decode('*', topic) };
}

function publishRoute(cleaned: string): Route | undefined {
  const bulk = /^\/v1\.0(?:-alpha1)?\/publish\/bulk\/([^/]+)\/(.+)$/s.exec(cleaned);
  const match = bulk ?? /^\/v1\.0\/publish\/([^/]+)\/(.+)$/s.exec(cleaned);
  if (!match) return undefined;
  const [, pubsubName, topic] = match as unknown as [string, string, string];
  return {
    kind: bulk ? 'bulk-publish' : 'publish',
    pubsubName: decode('pubsubname', pubsubName),
    topic: decode('*', topic),
  };
}

/** Calls to an app are told apart by it whether they end with a slash; its root is nothing but that. */
function invokeRoute(cleaned: string, path: string): Route | undefined {
  const [, id, asked = ''] = /^\/v1\.0\/invoke\/(.+?)\/method(?:\/(.+))?$/s.exec(cleaned) ?? [];
  const method = path.endsWith('/') ? `${asked}/` : asked;
  return id === undefined || method === '' ? undefined : { kind: 'invoke', id: decode('id', id), method };
}

const READS = new Map<string, 'metadata' | 'parked' | 'healthz' | 'outbound'>([
  ['/v1.0/metadata', 'metadata'],
  ['/v1.0/parked', 'parked'],
  ['/v1.0/healthz', 'healthz'],
  ['/v1.0/healthz/outbound', 'outbound'],
]);

/** Repeated slashes and dot segments resolved, no trailing slash, escapes left alone. */
export function clean(path: string): string {
  if (!/\/\/|\/\.|\/$/.test(path)) return path;
  const out: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') out.pop();
    else if (segment !== '' && segment !== '.') out.push(segment);
  }
  return `/${out.join('/')}`;
}

/** Decodes as Go decodes a query value: `+` is a blank. */
function decode(name: string, text: string): string {
  if (!/[%+]/.test(text)) return text;
  const bad = /%(?![0-9a-f]{2})/i.exec(text);
  if (bad) {
    const shown = text.slice(bad.index, bad.index + 3);
    throw new BadEscape(`failed to unescape request parameter "${name}". Error: invalid URL escape "${shown}"`);
  }
  const bytes = text.replaceAll('+', ' ').split(/((?:%[0-9a-f]{2})+)/i);
  return bytes
    .map((part, i) => (i % 2 ? Buffer.from(part.replaceAll('%', ''), 'hex').toString('utf8') : part))
    .join('');
}

/** The `metadata.*` parameters of a query, prefix removed; of repeated ones the first. */
export function metadataOf(query: string): Record<string, string> {
  const metadata: Record<string, string> = {};
  if (query === '') return metadata;
  for (const [key, value] of new URLSearchParams(query)) {
    const name = key.startsWith('metadata.') ? key.slice('metadata.'.length) : undefined;
    if (name !== undefined && !Object.hasOwn(metadata, name)) metadata[name] = value;
  }
  return metadata;
}
