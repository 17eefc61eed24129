/** The rows in their short form, as tests. */

import test from 'ava';
import { NEVER } from '../conformance/bench.ts';
import { perform, type Row } from './row.ts';

/** Registers one test a row. They run one after the other: each takes what the machine has. */
export function declareShort(rows: Readonly<Record<number, Row>>): void {
  for (const [number, row] of Object.entries(rows)) {
    test.serial(`${number}: ${row.about}`, async (t) => {
      t.timeout(180_000);
      const seed = Math.floor(Math.random() * 2 ** 32);
      const verdict = await perform(row, { seed, ms: 0, say: (line) => t.log(line), signal: NEVER });
      const { problem, figures, acknowledged, duplicates, seconds } = verdict;
      t.log(`seed ${seed}: ${acknowledged} acknowledged, ${duplicates} handled again, ${seconds} s`);
      t.log(Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(', ')); // prettier-ignore
      t.is(problem, undefined);
    });
  }
}
