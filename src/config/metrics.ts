/** What is counted and how it is told: `spec.metric` or `spec.metrics` of a Configuration (contract 11.4). */

import type { Fields } from '../lib/fields.ts';

export interface MetricsSettings {
  readonly enabled: boolean;
  /** Whether paths of requests are labels. */
  readonly increasedCardinality: boolean;
  /** Patterns that stand for paths. */
  readonly pathMatching: readonly string[];
  /** Whether methods of requests are no labels. */
  readonly excludeVerbs: boolean;
  /** Upper bounds of buckets, milliseconds, rising; empty: the default ones. */
  readonly latencyBuckets: readonly number[];
  readonly recordErrorCodes: boolean;
  readonly rules: readonly {
    readonly name: string;
    readonly labels: readonly { readonly name: string; readonly regex: Readonly<Record<string, string>> }[];
  }[];
}

export const DEFAULT_METRICS: MetricsSettings = {
  enabled: true,
  increasedCardinality: true,
  pathMatching: [],
  excludeVerbs: false,
  latencyBuckets: [],
  recordErrorCodes: false,
  rules: [],
};

/** What a file says over what those before it said, under either of its names; member by member the longer one counts. */
export function metricsOf(spec: Fields, base: MetricsSettings): MetricsSettings {
  return overlay(spec.child('metrics'), overlay(spec.child('metric'), base));
}

function overlay(metrics: Fields, base: MetricsSettings): MetricsSettings {
  const http = metrics.child('http');
  return {
    enabled: metrics.flag('enabled') ?? base.enabled,
    increasedCardinality: http.flag('increasedCardinality') ?? base.increasedCardinality,
    pathMatching: http.has('pathMatching') ? http.texts('pathMatching') : base.pathMatching,
    excludeVerbs: http.flag('excludeVerbs') ?? base.excludeVerbs,
    latencyBuckets: metrics.has('latencyDistributionBuckets') ? bucketsOf(metrics) : base.latencyBuckets,
    recordErrorCodes: metrics.flag('recordErrorCodes') ?? base.recordErrorCodes,
    rules: metrics.has('rules') ? rulesOf(metrics) : base.rules,
  };
}

function bucketsOf(metrics: Fields): number[] {
  const bounds = metrics.texts('latencyDistributionBuckets').map(Number);
  const isWrong = bounds.some((bound, i) => !Number.isSafeInteger(bound) || bound <= (bounds[i - 1] ?? 0));
  if (isWrong)
    throw new Error('latencyDistributionBuckets wants whole numbers of milliseconds, each larger than the last');
  return bounds;
}

const rulesOf = (metrics: Fields): MetricsSettings['rules'] =>
  metrics.children('rules').map((rule) => ({
    name: rule.text('name'),
    labels: rule
      .children('labels')
      .map((label) => ({ name: label.text('name'), regex: label.child('regex').record() })),
  }));
