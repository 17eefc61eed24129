/** Compares what was acknowledged with what was handled. Messages are `key number`, numbers ascending for each key; `-` begins what has none. */

import type { ExecutionContext } from 'ava';

export interface Records {
  readonly tried: readonly string[];
  readonly acknowledged: readonly string[];
  /** In the order of time, all members together. */
  readonly handled: readonly string[];
}

/** Nothing lost, nothing invented, and the first handling of each message in the order of its key. */
export function audit(t: ExecutionContext, { tried, acknowledged, handled }: Records): void {
  const unique = new Set(handled);
  t.deepEqual(
    acknowledged.filter((content) => !unique.has(content)),
    [],
    'acknowledged but not handled',
  );
  t.true(unique.isSubsetOf(new Set(tried)), 'nothing is handled that was not published');
  const last = new Map<string, number>();
  const disordered: string[] = [];
  for (const content of unique) {
    const [key = '', number = ''] = content.split(' ');
    if (!key.startsWith('-') && Number(number) < (last.get(key) ?? -1)) disordered.push(content);
    last.set(key, Number(number));
  }
  t.deepEqual(disordered, [], 'handled before an earlier one of the same key');
  t.log(`${acknowledged.length} acknowledged, ${handled.length - unique.size} of ${handled.length} handled twice`);
}
