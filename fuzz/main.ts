/** npm run fuzz: random and damaged input for everything that reads what others send. */

import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import '../scripts/orphans.mjs';
import { fuzz, keep, seedsOf, type Outcome } from './run.ts';
import { TARGETS } from './targets.ts';

const names = TARGETS.map(({ name }) => name);
const HELP = `Sends random and damaged input to everything that reads what others send. Nothing of it may crash or hang the
sidecar, cost a delivery, or be answered with a 5xx or an internal error where the client was wrong.

  npm run fuzz -- [options]

  --target NAME    what to fuzz, again for several (default: all)
${TARGETS.map(({ name, about }) => `                     ${name.padEnd(12)} ${about}`).join('\n')}
  --minutes N      how long, for all targets together (default: 1)
  --seed N         where the random numbers begin (default: the time)
  -o, --output     text or json
  -h, --help       this text

Inputs that fail are kept in fuzz/seeds, and test/fuzz.test.ts runs them ever after. Exit code: 0 nothing failed, 1
something did, 2 the command line is wrong.`;

function optionsOf(args: readonly string[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      target: { type: 'string', multiple: true, default: names },
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: String(Date.now() % 2 ** 31) },
      output: { type: 'string', short: 'o', default: 'text' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  for (const name of values.target)
    if (!names.includes(name)) throw new Error(`--target wants ${names.join(', ')}, not ${name}`);
  if (!(minutes > 0)) throw new Error(`--minutes wants a number above 0, not ${values.minutes}`);
  if (!Number.isSafeInteger(seed)) throw new Error(`--seed wants a whole number, not ${values.seed}`);
  if (values.output !== 'text' && values.output !== 'json') throw new Error('--output wants text or json');
  return { ...values, minutes, seed };
}

let options: ReturnType<typeof optionsOf>;
try {
  options = optionsOf(process.argv.slice(2));
} catch (error) {
  console.error(`${(error as Error).message}\nnpm run fuzz -- --help shows how it is used`);
  process.exit(2);
}
if (options.help) {
  console.log(HELP);
  process.exit(0);
}

const outcomes: Outcome[] = [];
const ms = (options.minutes * 60_000) / options.target.length;
for (const target of options.target) {
  const seeds = seedsOf(target);
  const kept = seeds.length > 0 ? [await fuzz(target, options.seed, 0, seeds)] : [];
  for (const outcome of [...kept, await fuzz(target, options.seed, ms)]) {
    outcomes.push(outcome);
    const { runs, failures } = outcome;
    const files = failures.map((failure) => keep(target, failure));
    if (options.output === 'json') continue;
    console.log(`${target}: ${runs} inputs, ${failures.length} failed`);
    for (const [i, { reason }] of failures.entries()) {
      console.log(`  ${relative('.', files[i] as string)}: ${reason.split('\n').slice(0, 4).join('\n    ')}`);
    }
  }
}
const failed = outcomes.reduce((sum, { failures }) => sum + failures.length, 0);
if (options.output === 'json') {
  const shown = outcomes.map(({ target, runs, failures }) => ({
    target,
    runs,
    failures: failures.map((failure) => ({ file: keep(target, failure), reason: failure.reason })),
  }));
  console.log(JSON.stringify({ seed: options.seed, outcomes: shown }, null, 2));
} else {
  console.log(`seed ${options.seed}: ${failed === 0 ? 'nothing failed' : `${failed} inputs failed`}`);
}
process.exitCode = failed === 0 ? 0 : 1;
