/** Fuzzing in short form: every input that failed once, and a few seconds of new ones. `npm run fuzz` is the long form. */

import test from 'ava';
import { fuzz, seedsOf } from '../fuzz/run.ts';
import { TARGETS } from '../fuzz/targets.ts';

const SHORT_MS = 2500;

for (const { name } of TARGETS) {
  test.serial(
    `what failed once in ${name} does not any more, nor what a few seconds of random input find`,
    async (t) => {
      const seeds = seedsOf(name);
      const kept = seeds.length > 0 ? await fuzz(name, 1, 0, seeds) : { failures: [] };
      const found = await fuzz(name, 1, SHORT_MS);
      t.true(found.runs > 20, `${found.runs} inputs`);
      for (const { input, reason } of [...kept.failures, ...found.failures])
        t.log(`${reason}\n${input.toString('base64')}`);
      t.is(kept.failures.length + found.failures.length, 0);
    },
  );
}
