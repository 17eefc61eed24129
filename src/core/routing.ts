/** Which path an event takes: CEL rules over `event`, tried in order (contract 5.8). */

import type { Log } from '../lib/log.ts';
import { loadCel, type Expression } from './cel.ts';
import { messageOf } from './errors.ts';
import type { Rule, SubscriptionSpec } from './subscription.ts';

/** Picks the path of an event. */
export interface Router {
  /** Whether choosing needs the event's attributes; where not, nobody has to parse it. */
  readonly readsEvent: boolean;
  /** The first matching rule's path, undefined when none matches. `event` is the parsed CloudEvent. */
  route(event: unknown): string | undefined;
}

interface Compiled {
  readonly path: string;
  /** Absent: always matches. */
  readonly matches?: (event: unknown) => boolean;
}

type OnFault = (rule: Rule, reason: string) => void;

/**
 * Compiles the rules. Rejects with an Error naming the expression when one is no CEL. A rule that cannot be evaluated
 * for an event (a field is missing, a type does not fit, the result is no boolean) does not match it; `onFault` hears.
 */
export async function compileRules(rules: readonly Rule[], onFault: OnFault): Promise<Router> {
  const sources = rules.map((rule) => rule.match.trim()).filter((source) => source !== '');
  const parse = sources.length > 0 ? await loadCel(sources) : undefined;
  const compiled = rules.map((rule) => compile(rule, parse, onFault));
  return {
    readsEvent: compiled.some(({ matches }) => matches !== undefined),
    route: (event) => compiled.find(({ matches }) => matches === undefined || matches(event))?.path,
  };
}

/** Rejects as `compileRules` does for the first spec with a bad rule. */
export async function checkRules(specs: readonly SubscriptionSpec[]): Promise<void> {
  for (const { rules } of specs) await compileRules(rules, () => undefined);
}

/** An `onFault` that tells of each rule once, not of each event. */
export function tellOnce(log: Log): OnFault {
  const told = new Set<string>();
  return ({ match }, reason) => {
    if (told.has(match)) return;
    told.add(match);
    log.warn(`rule '${match}' cannot be evaluated for an event and does not match it: ${reason}. Told once a rule`);
  };
}

type Parse = (source: string) => Expression;

function compile(rule: Rule, parse: Parse | undefined, onFault: OnFault): Compiled {
  const source = rule.match.trim();
  if (source === '' || parse === undefined) return { path: rule.path };
  const evaluate = parsed(source, parse);
  return {
    path: rule.path,
    matches: (event) => {
      try {
        const result = evaluate({ event });
        if (typeof result === 'boolean') return result;
        onFault(rule, `the result of match expression ${source} was not a boolean`);
      } catch (error) {
        onFault(rule, firstLine(messageOf(error)));
      }
      return false;
    },
  };
}

function parsed(source: string, parse: Parse): Expression {
  try {
    return parse(source);
  } catch (error) {
    throw new Error(`invalid routing rule '${source}': ${firstLine(messageOf(error))}`, { cause: error });
  }
}

/** The library appends a drawing of the place. */
const firstLine = (text: string): string => text.split('\n', 1)[0] as string;
