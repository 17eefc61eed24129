/** What one YAML document is to this sidecar: a resource, somebody else's, or broken. */

import { specFromDocument } from '../core/subscription-document.ts';
import { Fields } from '../lib/fields.ts';
import type { SubscriptionSpec } from '../core/subscription.ts';
import { componentOf, type ComponentSpec } from './component.ts';

/** A resource that is only found here. Every scalar in `spec` is text; null where nothing is written. */
export interface RawResource {
  readonly name: string;
  readonly file: string;
  readonly spec: unknown;
}

/** What is made of a document of each kind. */
export interface Specs {
  readonly Component: ComponentSpec;
  readonly Subscription: SubscriptionSpec;
  readonly Resiliency: RawResource;
  readonly Configuration: RawResource;
  readonly HTTPEndpoint: RawResource;
}

export type Kind = keyof Specs;

/** `skipped`: the document is well, but not for us. `of` says what it is, where that is known. */
export type Reading =
  | { readonly [K in Kind]: { readonly kind: K; readonly spec: Specs[K] } }[Kind]
  | { readonly kind: 'skipped'; readonly of?: Kind; readonly reason: string; readonly isFault?: boolean };

/** The `apiVersion`s of each kind. Resiliency has always been taken with any. */
const VERSIONS: Readonly<Record<Kind, RegExp>> = {
  Component: /^dapr\.io\/v1alpha1$/,
  Subscription: /^dapr\.io\/v[12]alpha1$/,
  Resiliency: /^/,
  Configuration: /^dapr\.io\/v1alpha1$/,
  HTTPEndpoint: /^dapr\.io\/v1alpha1$/,
};

/** Whose sidecar reads. An empty `namespace` sees every namespace. */
export interface Reader {
  readonly appId: string;
  readonly namespace: string;
}

/** A document that is meant for us and is wrong. */
export class ResourceError extends Error {
  readonly kind: Kind;

  constructor(kind: Kind, cause: unknown) {
    super((cause as Error).message, { cause });
    this.kind = kind;
  }
}

/** Throws an Error when the document is not what it should be, a ResourceError once its kind is known. */
export function readDocument(content: unknown, file: string, reader: Reader): Reading {
  const document = new Fields(content, '');
  const kind = document.text('kind');
  if (!isKind(kind)) return { kind: 'skipped', reason: `kind '${kind}' is none of ours`, isFault: kind === '' };
  const version = document.text('apiVersion');
  if (!VERSIONS[kind].test(version)) return { kind: 'skipped', of: kind, reason: `unknown apiVersion '${version}'` };
  try {
    const reason = outOfScope(kind, document, reader);
    return reason === undefined ? resourceOf(kind, document, file) : { kind: 'skipped', of: kind, reason };
  } catch (error) {
    throw new ResourceError(kind, error);
  }
}

function isKind(kind: string): kind is Kind {
  return Object.hasOwn(VERSIONS, kind);
}

/** Subscriptions are looked at in every namespace (contract 5.6). */
function outOfScope(kind: Kind, document: Fields, reader: Reader): string | undefined {
  const scopes = document.texts('scopes');
  if (scopes.length > 0 && !scopes.includes(reader.appId)) return `not in scope of app '${reader.appId}'`;
  const namespace = document.child('metadata').text('namespace');
  const foreign = kind !== 'Subscription' && reader.namespace !== '' && namespace !== '';
  return foreign && namespace !== reader.namespace ? `belongs to namespace '${namespace}'` : undefined;
}

function resourceOf(kind: Kind, document: Fields, file: string): Reading {
  const name = document.child('metadata').text('name');
  const fault = nameFault(name);
  if (fault !== undefined) throw new Error(`invalid name ${JSON.stringify(name)} for "${kind}": ${fault}`);
  switch (kind) {
    case 'Component':
      return { kind, spec: componentOf(document, file) };
    case 'Subscription':
      return { kind, spec: specFromDocument(document.raw('spec'), 'DECLARATIVE', name) };
    default:
      return { kind, spec: { name, file, spec: document.raw('spec') ?? null } };
  }
}

/** Names become part of paths. */
function nameFault(name: string): string | undefined {
  if (name === '.' || name === '..') return `may not be '${name}'`;
  const found = /[/%]/.exec(name);
  return found ? `may not contain '${found[0]}'` : undefined;
}
