/** What is told in the end. */

import type { Verdict } from './row.ts';

export interface Judged extends Verdict {
  readonly row: number;
  readonly about: string;
}

export interface Report {
  readonly seed: number;
  readonly passed: number;
  readonly failed: number;
  readonly rows: readonly Judged[];
}

export function reportOf(seed: number, rows: readonly Judged[]): Report {
  const failed = rows.filter(({ problem }) => problem !== undefined).length;
  return { seed, passed: rows.length - failed, failed, rows };
}

export function table({ seed, passed, failed, rows }: Report): string {
  const line = ({ row, rounds, seconds, acknowledged, handled, duplicates, figures, problem }: Judged): string => {
    const counts = [rounds, seconds, acknowledged, handled, duplicates].map((n) => String(n).padStart(13)).join('');
    const measured = Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(', '); // prettier-ignore
    return `${String(row).padStart(3)} ${problem === undefined ? 'held  ' : 'FAILED'}${counts}  ${measured}`;
  };
  const names = ['rounds', 'seconds', 'acknowledged', 'handled', 'twice'];
  const head = `row       ${names.map((name) => name.padStart(13)).join('')}  worst figures`;
  return [head, ...rows.map(line), '', `${passed} held, ${failed} failed, seed ${seed}`].join('\n');
}
