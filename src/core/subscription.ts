/** What somebody asked to receive, whichever way they asked: a file, the app's list, a stream. */

/** One routing rule. An empty `match` always matches. */
export interface Rule {
  /** CEL over `event`. */
  readonly match: string;
  readonly path: string;
}

export interface BulkOptions {
  readonly maxMessages: number;
  readonly maxAwaitMs: number;
}

export type SubscriptionKind = 'DECLARATIVE' | 'PROGRAMMATIC' | 'STREAMING';

export interface SubscriptionSpec {
  /** Name of the resource for a declarative one, empty otherwise. */
  readonly name: string;
  readonly kind: SubscriptionKind;
  readonly pubsubName: string;
  readonly topic: string;
  /** Tried in order. A default route is a last rule without `match`. None: nothing ever matches. */
  readonly rules: readonly Rule[];
  readonly metadata: Readonly<Record<string, string>>;
  /** Empty: none. */
  readonly deadLetterTopic: string;
  readonly bulk?: BulkOptions;
}

const key = (spec: SubscriptionSpec): string => JSON.stringify([spec.pubsubName, spec.topic]);

/**
 * The subscriptions an app really gets, by contract 5.7: of declarative ones for the same component and topic the
 * first stays, of programmatic ones the last, and a programmatic one takes a declarative one's place.
 */
export function mergeSpecs(
  declarative: readonly SubscriptionSpec[],
  programmatic: readonly SubscriptionSpec[],
): SubscriptionSpec[] {
  const merged = new Map<string, SubscriptionSpec>();
  for (const spec of declarative) if (!merged.has(key(spec))) merged.set(key(spec), spec);
  for (const spec of programmatic) merged.set(key(spec), spec);
  return [...merged.values()];
}
