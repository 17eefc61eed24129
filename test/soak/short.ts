/** The rows in their short form, as tests. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test from 'ava';
import type { Report } from './report.ts';
import type { Row } from './row.ts';

/**
 * Registers one test a row. They run one after the other: each takes what the machine has. In a process of its own, as
 * anybody would run it: a thread in which sockets and processes were killed does not always come to its end.
 */
export function declareShort(rows: Readonly<Record<number, Row>>): void {
  for (const [number, { about }] of Object.entries(rows)) {
    test.serial(`${number}: ${about}`, async (t) => {
      t.timeout(600_000);
      const args = ['--short', '--row', number, '--output', 'json'];
      const main = join(import.meta.dirname, 'main.ts');
      const soak = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
      const [output, [code]] = await Promise.all([text(soak.stdout), once(soak, 'exit')]);
      if (output === '') t.fail(`it ended with ${String(code)} and told nothing`);
      const { seed, rows: judged } = JSON.parse(output) as Report;
      if (judged.length === 0) t.log('left out: it wants a network of its own');
      for (const { acknowledged, duplicates, seconds, figures, problem } of judged) {
        t.log(`seed ${seed}: ${acknowledged} acknowledged, ${duplicates} handled again, ${seconds} s`);
        t.log(Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(', ')); // prettier-ignore
        t.is(problem, undefined);
      }
      t.is(code, 0);
    });
  }
}
