/**
 * The language of routing rules. The library's `matches` is the regular expression of JavaScript, which some patterns
 * keep busy for ever on a text that a publisher chose. CEL's own, RE2, takes linear time, and is put in its place, also
 * as a function of two texts, which the library lacks.
 */

import type { Environment } from '@marcbachmann/cel-js';

/** An expression ready to be evaluated. Throws whatever is wrong with the values. */
export type Expression = (context: { readonly event: unknown }) => unknown;

/** As long as `matches`, so that positions in messages stay. */
const LINEAR = 'RE2like';
/** Rules have their patterns written down; a pattern from an event is not kept for ever. */
const MAX_PATTERNS = 100;

const STRING = /[rR](?:"""[^]*?"""|'''[^]*?'''|"[^"]*"|'[^']*')|"""(?:\\[^]|[^\\])*?"""|'''(?:\\[^]|[^\\])*?'''/;
const SHORT_STRING = /"(?:\\[^]|[^"\\])*"|'(?:\\[^]|[^'\\])*'/;
const COMMENT = /\/\/[^\n]*/;
const CALL = /\bmatches(?=\s*\()/;
const TOKENS = new RegExp(`(${CALL.source})|${STRING.source}|${SHORT_STRING.source}|${COMMENT.source}`, 'g');

/**
 * Loads the library: only where a rule needs it, it is a tenth of the start-up time. Resolves with what parses, and
 * throws for what no event makes true: a function that is none, an operator between kinds that have none.
 */
export async function loadCel(sources: readonly string[]): Promise<(source: string) => Expression> {
  const cel = await import('@marcbachmann/cel-js');
  const environment = new cel.Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false })
    .registerVariable('event', 'dyn')
    .registerFunction('int(google.protobuf.Timestamp): int', (time: Date) => BigInt(Math.floor(time.getTime() / 1000)))
    .registerFunction('string(google.protobuf.Timestamp): string', textOfTime);
  if (sources.some((source) => withLinearMatches(source) !== source)) await addLinearMatches(environment);
  return (source) => {
    const expression = environment.parse(withLinearMatches(source));
    const { valid, error } = expression.check();
    if (valid) return expression;
    throw error ?? new Error('the types do not fit');
  };
}

/** RFC 3339 with as many digits of the second as it has. */
const textOfTime = (time: Date): string => time.toISOString().replace(/\.?0*Z$/, 'Z');

/** Calls of `matches` under the name of the function that takes its place; texts and comments stay. */
export const withLinearMatches = (source: string): string =>
  source.replace(TOKENS, (token, call?: string) => (call === undefined ? token : LINEAR));

async function addLinearMatches(environment: Environment): Promise<void> {
  const { RE2JS } = await import('re2js');
  const patterns = new Map<string, InstanceType<typeof RE2JS>>();
  const test = (text: string, source: string): boolean => {
    let pattern = patterns.get(source);
    if (!pattern) {
      if (patterns.size >= MAX_PATTERNS) patterns.clear();
      patterns.set(source, (pattern = RE2JS.compile(source)));
    }
    return pattern.test(text);
  };
  environment.registerFunction(`string.${LINEAR}(string): bool`, test);
  environment.registerFunction(`${LINEAR}(string, string): bool`, test);
}
