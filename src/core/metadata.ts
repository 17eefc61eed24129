/** What the runtime itself reads from a message's or a subscription's metadata (contract 3.4, 4.4 to 4.6). */

import { parseGoDuration } from '../lib/duration.ts';
import { SidecarError } from './errors.ts';

export type Metadata = Readonly<Record<string, string>>;

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False', '']);
/** Go's largest duration. Longer times to live end there. */
const MAX_TTL_MS = 2 ** 63 / 1e6;

/** Whether metadata asks for raw bytes, unreadable values counting as no. */
export const saysRaw = (metadata: Metadata): boolean => TRUE.has(metadata['rawPayload'] ?? '');

/** The same, throws `metadata-invalid`, worded for `resource`, when its value is no boolean. */
export function isRaw(metadata: Metadata, resource: string): boolean {
  const value = metadata['rawPayload'];
  if (value === undefined || FALSE.has(value)) return false;
  if (TRUE.has(value)) return true;
  throw new SidecarError(
    'metadata-invalid',
    `failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is '${value}'`,
    { resource, info: metadata },
  );
}

/** The value under `name` in any case. */
export function find(metadata: Metadata, name: string): string | undefined {
  const exact = metadata[name];
  if (exact !== undefined) return exact;
  const wanted = name.toLowerCase();
  for (const key in metadata) if (key.toLowerCase() === wanted) return metadata[key];
  return undefined;
}

/**
 * Time to live in milliseconds, undefined when none is set or it is unreadable. As recorded: a Go duration may be
 * zero (expires at once), negative ones count as zero, a bare number of seconds must be positive.
 */
export function ttlMs(metadata: Metadata): number | undefined {
  const value = find(metadata, 'ttl') ?? find(metadata, 'ttlInSeconds');
  if (value === undefined || value === '') return undefined;
  const duration = parseGoDuration(value);
  if (duration !== undefined) return Math.min(Math.max(duration, 0), MAX_TTL_MS);
  const seconds = /^\d+$/.test(value) ? Number(value) : 0;
  return seconds > 0 ? Math.min(seconds * 1000, MAX_TTL_MS) : undefined;
}

const TTL_NAMES = new Set(['ttl', 'ttlinseconds']);

/** Metadata that asks for no time to live. */
export function withoutTtl(metadata: Metadata): Metadata {
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => !TTL_NAMES.has(key.toLowerCase())));
}

/** RFC 3339 with seconds in UTC, `ms` from now. */
export function expirationIn(ms: number): string {
  return `${new Date(Date.now() + ms).toISOString().slice(0, 19)}Z`;
}

/** Attributes that a publisher may set through `cloudevent.*` metadata. */
export interface Overrides {
  readonly id?: string;
  readonly source?: string;
  readonly type?: string;
  readonly subject?: string;
  readonly traceid?: string;
  readonly traceparent?: string;
  readonly tracestate?: string;
}

const OVERRIDABLE = new Set(['id', 'source', 'type', 'subject', 'traceid', 'traceparent', 'tracestate']);

export function overridesOf(metadata: Metadata): Overrides {
  let found: Record<string, string> | undefined;
  for (const key in metadata) {
    const lower = key.toLowerCase();
    if (!lower.startsWith('cloudevent.')) continue;
    const name = lower.slice('cloudevent.'.length);
    if (OVERRIDABLE.has(name)) (found ??= {})[name] = metadata[key] as string;
  }
  return found ?? NO_OVERRIDES;
}

/** The one value of those that set nothing. */
export const NO_OVERRIDES: Overrides = {};
