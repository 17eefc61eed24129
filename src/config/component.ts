import type { Fields } from '../lib/fields.ts';
import { parseGoDuration } from '../lib/duration.ts';

/** One entry of `spec.metadata`: a value, or where it comes from. */
export interface ComponentSetting {
  readonly name: string;
  readonly value?: string;
  readonly secretKeyRef?: { readonly name: string; readonly key: string };
  /** Name of an environment variable of the sidecar. */
  readonly envRef?: string;
}

/** A Component resource as it was written, before secrets and templates. */
export interface ComponentSpec {
  readonly name: string;
  /** Lower case. */
  readonly type: string;
  /** `v1` when the file does not say. */
  readonly version: string;
  readonly initTimeoutMs: number;
  /** Whether the sidecar runs without it when it cannot be started. */
  readonly ignoreErrors: boolean;
  readonly metadata: readonly ComponentSetting[];
  /** Component that holds the secrets `metadata` refers to; empty when none is named. */
  readonly secretStore: string;
  /** App ids that may load it; empty: every app. */
  readonly scopes: readonly string[];
  readonly file: string;
}

const INIT_TIMEOUT_MS = 5000;

/** The component as logs name it: `pubsub (pubsub.redis/v1)`. */
export function componentLabel(spec: ComponentSpec): string {
  return `${spec.name} (${spec.type}/${spec.version})`;
}

/** The component of a resource. Throws an Error that says what is wrong with it, without any of its values. */
export function componentOf(document: Fields, file: string): ComponentSpec {
  const spec = document.child('spec');
  const initTimeoutMs = parseGoDuration(spec.text('initTimeout')) ?? 0;
  return {
    name: document.child('metadata').text('name'),
    type: spec.text('type').toLowerCase(),
    version: spec.text('version') || 'v1',
    initTimeoutMs: initTimeoutMs > 0 ? initTimeoutMs : INIT_TIMEOUT_MS,
    ignoreErrors: spec.flag('ignoreErrors') ?? false,
    metadata: spec.children('metadata').map(settingOf),
    secretStore: document.child('auth').text('secretStore'),
    scopes: document.texts('scopes'),
    file,
  };
}

function settingOf(entry: Fields): ComponentSetting {
  const value = entry.raw('value') === undefined ? undefined : entry.text('value');
  const secret = entry.child('secretKeyRef');
  const name = secret.text('name');
  const envRef = entry.text('envRef');
  return {
    name: entry.text('name'),
    ...(value !== undefined && { value }),
    ...(name !== '' && { secretKeyRef: { name, key: secret.text('key') || name } }),
    ...(envRef !== '' && { envRef }),
  };
}
