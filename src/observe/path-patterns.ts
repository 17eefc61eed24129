/** Patterns of paths in the notation of Go's ServeMux: `/a/{id}`, `/a/{rest...}`, `/a/` for all beneath, `/a/{$}`. */

type Part = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'one' | 'rest' };

interface Pattern {
  readonly text: string;
  readonly parts: readonly Part[];
}

/** The most special of the patterns that a cleaned path fits, undefined where it fits none. */
export function pathPatterns(patterns: readonly string[]): (path: string) => string | undefined {
  const sorted = patterns.map((text) => ({ text, parts: partsOf(text) })).sort(bySpeciality);
  return (path) => {
    if (sorted.length === 0) return undefined;
    const segments = path.split('/').slice(1);
    return sorted.find(({ parts }) => fits(parts, segments))?.text;
  };
}

function partsOf(pattern: string): Part[] {
  const segments = pattern.replace(/^\/?/, '/').split('/').slice(1);
  return segments.map((segment, at) => {
    const isLast = at === segments.length - 1;
    if (isLast && (segment === '' || /^\{\w+\.\.\.\}$/.test(segment))) return { kind: 'rest' };
    if (/^\{\w+\}$/.test(segment)) return { kind: 'one' };
    return { kind: 'text', text: segment === '{$}' ? '' : segment };
  });
}

function fits(parts: readonly Part[], segments: readonly string[]): boolean {
  const { length } = parts;
  if (parts[length - 1]?.kind === 'rest' ? segments.length < length : segments.length !== length) return false;
  return parts.every((part, at) => {
    if (part.kind === 'text') return part.text === segments[at];
    return part.kind === 'rest' || segments[at] !== '';
  });
}

const RANK = { text: 0, one: 1, rest: 2 } as const;

/** What differs first decides: a text is more special than a name, a name than everything beneath. */
function bySpeciality(a: Pattern, b: Pattern): number {
  for (const [at, part] of a.parts.entries()) {
    const other = b.parts[at];
    if (other && part.kind !== other.kind) return RANK[part.kind] - RANK[other.kind];
  }
  return b.parts.length - a.parts.length;
}
