/** `spec.metrics.rules`: what is to stand in a label instead of what matches, by metric and label (contract 11.4). */

import { messageOf } from '../core/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Relabel } from './series.ts';

export interface MetricRule {
  readonly name: string;
  readonly labels: readonly {
    readonly name: string;
    /** Regular expressions by what takes the place of what they match. */
    readonly regex: Readonly<Record<string, string>>;
  }[];
}

/** Without rules labels are as they are. A pattern that is none is told of and left out. */
export async function relabelBy(rules: readonly MetricRule[], log: Log): Promise<Relabel> {
  if (rules.length === 0) return (_metric, _label, value) => value;
  const { RE2JS } = await import('re2js');
  const replacements = new Map<string, ((value: string) => string)[]>();
  for (const { name, labels } of rules) {
    for (const { name: label, regex } of labels) {
      const list = Object.entries(regex).flatMap(([replacement, source]) => {
        try {
          const pattern = RE2JS.compile(source);
          return [(value: string): string => pattern.matcher(value).replaceAll(replacement)];
        } catch (error) {
          log.warn(`a rule for the label ${label} of ${name} is left out: ${messageOf(error)}`);
          return [];
        }
      });
      replacements.set(`${withPrefix(name)} ${label}`, list);
    }
  }
  return (metric, label, value) =>
    (replacements.get(`${metric} ${label}`) ?? []).reduce((text, replace) => (text === '' ? '' : replace(text)), value);
}

/** Names may be written with or without it, and with slashes. */
const withPrefix = (name: string): string => `dapr_${name.replace('dapr_', '').replaceAll('/', '_')}`;
