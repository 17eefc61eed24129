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
 * throws for what no event makes true: a function that is none, an operator between kinds that have none, a pattern that
 * is written down and is none.
 */
export async function loadCel(sources: readonly string[]): Promise<(source: string) => Expression> {
  const cel = await import('@marcbachmann/cel-js');
  const environment = new cel.Environment({ unlistedVariablesAreDyn: true, homogeneousAggregateLiterals: false })
    .registerVariable('event', 'dyn')
    .registerFunction('int(google.protobuf.Timestamp): int', (time: Date) => BigInt(Math.floor(time.getTime() / 1000)))
    .registerFunction('string(google.protobuf.Timestamp): string', textOfTime);
  const usesMatches = sources.some((source) => withLinearMatches(source) !== source);
  const compile = usesMatches ? await addLinearMatches(environment) : undefined;
  return (source) => {
    const expression = environment.parse(withLinearMatches(source));
    const { valid, error } = expression.check();
    if (!valid) throw error ?? new Error('the types do not fit');
    if (compile) writtenPatterns(expression.ast).forEach(compile);
    return expression;
  };
}

/** RFC 3339 with as many digits of the second as it has. */
const textOfTime = (time: Date): string => time.toISOString().replace(/\.?0*Z$/, 'Z');

/** Calls of `matches` under the name of the function that takes its place; texts and comments stay. */
export const withLinearMatches = (source: string): string =>
  source.replace(TOKENS, (token, call?: string) => (call === undefined ? token : LINEAR));

/** The patterns in the tree of an expression that are texts already. */
function writtenPatterns(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(writtenPatterns);
  if (typeof node !== 'object' || node === null) return [];
  const { op, args } = node as { op?: string; args?: unknown };
  const [name, ...rest] = op === 'call' || op === 'rcall' ? (args as unknown[]) : [];
  const last = name === LINEAR ? (rest.at(-1) as { op: string; args: unknown }[]).at(-1) : undefined;
  return [...(last?.op === 'value' ? [String(last.args)] : []), ...writtenPatterns(args)];
}

/** Resolves with what compiles a pattern and throws for what is none. */
async function addLinearMatches(environment: Environment): Promise<(source: string) => void> {
  const { RE2JS } = await import('re2js');
  const patterns = new Map<string, InstanceType<typeof RE2JS>>();
  const compiled = (source: string): InstanceType<typeof RE2JS> => {
    let pattern = patterns.get(source);
    if (!pattern) {
      if (patterns.size >= MAX_PATTERNS) patterns.clear();
      patterns.set(source, (pattern = RE2JS.compile(source)));
    }
    return pattern;
  };
  const test = (text: string, source: string): boolean => compiled(source).test(text);
  environment.registerFunction(`string.${LINEAR}(string): bool`, test);
  environment.registerFunction(`${LINEAR}(string, string): bool`, test);
  return compiled;
}
