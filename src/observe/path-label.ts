/** Paths as labels of series (contract 11.4): as they are, as one of the operator's patterns, or not at all. */

import { Memo } from './series.ts';

export interface PathSettings {
  /** Whether a path that no pattern matches is a label as it is; else it is an empty one. */
  readonly increasedCardinality: boolean;
  /** Patterns like `/orders/{id}`; each stands for the same path of a call of an app, too. */
  readonly pathMatching: readonly string[];
}

/** What is told of a path without patterns: all of it, or nothing. */
export type Unmatched = 'as-it-is' | 'empty';

interface Pattern {
  readonly text: string;
  readonly segments: readonly string[];
}

const INVOCATION = '/v1.0/invoke/{app_id}/method';

/** The label of a path. Patterns are as in Go's ServeMux: the most special one that fits. */
export function pathLabels({ increasedCardinality, pathMatching }: PathSettings, unmatched: Unmatched) {
  const whole = increasedCardinality ? 'as-it-is' : unmatched;
  if (pathMatching.length === 0) return (path: string): string => (whole === 'empty' ? '' : path);
  const calls = pathMatching.filter((text) => !text.startsWith('/v1.0')).map((text) => INVOCATION + text);
  const patterns = [...new Set([...pathMatching, ...calls])]
    .map((text) => ({ text, segments: segmentsOf(text) }))
    .toSorted((a, b) => (isMoreSpecial(a, b) ? -1 : 1));
  const known = new Memo<string, { readonly label: string }>();
  const labelOf = (path: string): string => {
    const segments = segmentsOf(path);
    const fitting = patterns.find((pattern) => fits(pattern.segments, segments));
    return fitting ? fitting.text : increasedCardinality ? path : '';
  };
  return (path: string): string => known.get(path, () => ({ label: labelOf(path) })).label;
}

const segmentsOf = (path: string): string[] => path.replace(/^\//, '').split('/');

const isWildcard = (segment: string): boolean => segment.startsWith('{') && segment.endsWith('}') && segment !== '{$}';
/** The rest of a path: `{name...}`, or nothing after the last slash of a pattern. */
const isRest = (pattern: readonly string[], at: number): boolean =>
  at === pattern.length - 1 && (pattern[at] === '' || /^\{.*\.\.\.\}$/.test(pattern[at] as string));

function fits(pattern: readonly string[], path: readonly string[]): boolean {
  for (let i = 0; i < pattern.length; i++) {
    const wanted = pattern[i] as string;
    if (isRest(pattern, i)) return path.length > i;
    const given = path[i];
    if (given === undefined) return false;
    if (wanted === '{$}' ? given !== '' : isWildcard(wanted) ? given === '' : given !== wanted) return false;
  }
  return path.length === pattern.length;
}

/** Text before wildcards, one segment before the rest of a path. */
function isMoreSpecial({ segments: a }: Pattern, { segments: b }: Pattern): boolean {
  const rank = (pattern: readonly string[], at: number): number =>
    isRest(pattern, at) ? 2 : isWildcard(pattern[at] as string) ? 1 : 0;
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [first, second] = [rank(a, i), rank(b, i)];
    if (first !== second) return first < second;
  }
  return a.length > b.length;
}
