/** The contract of core/broker.ts as tests. Every broker passes them unchanged; see bench.ts for what it brings. */

import test from 'ava';
import { Bench, type Declare, type Harness } from './bench.ts';
import { crowds, groups } from './company.ts';
import { contents, order } from './contents.ts';
import { counting } from './counting.ts';
import { brokersEnd, closing } from './endings.ts';
import { neighbours, parking, settling } from './settlement.ts';

/** Registers every test with ava. They run one after the other, since some look at the clock. */
export function conform(harness: Harness): void {
  const declare: Declare = (title, body, ...needs) => {
    if (!needs.every((need) => harness.abilities[need])) return;
    test.serial(`${harness.name}: ${title}`, async (t) => {
      const bench = new Bench(harness);
      try {
        await body(t, bench);
      } finally {
        await bench.close();
      }
    });
  };
  for (const register of [
    contents,
    order,
    settling,
    counting,
    parking,
    neighbours,
    groups,
    crowds,
    closing,
    brokersEnd,
  ]) {
    register(declare, harness);
  }
}
