/** npm run soak: see --help. */

import { readOptions, type Options } from './options.ts';
import { perform, type Row, type Verdict } from './row.ts';
import { ROWS } from './rows.ts';

interface Judged extends Verdict {
  readonly row: number;
  readonly about: string;
}

const MINUTE_MS = 60_000;

/** By Ctrl-C: the round on its way fails or ends, and no other is begun. */
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => interrupted.abort());

async function performAll({ rows, minutes, seed }: Options): Promise<Judged[]> {
  const judged: Judged[] = [];
  for (const row of rows) {
    if (interrupted.signal.aborted) break;
    const { about } = ROWS[row] as Row;
    const say = (line: string): void => console.error(`${new Date().toISOString().slice(11, 19)} row ${row}: ${line}`);
    say(about);
    const plan = { seed: seed + row, ms: (minutes * MINUTE_MS) / rows.length, say, signal: interrupted.signal };
    const verdict = { row, about, ...(await perform(ROWS[row] as Row, plan)) };
    say(verdict.problem === undefined ? `held over ${verdict.rounds} rounds` : `FAILED ${verdict.problem}`);
    judged.push(verdict);
  }
  return judged;
}

function table(judged: readonly Judged[]): string {
  const line = ({ row, rounds, seconds, acknowledged, handled, duplicates, figures, problem }: Judged): string => {
    const counts = [rounds, seconds, acknowledged, handled, duplicates].map((n) => String(n).padStart(13)).join('');
    const measured = Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(', '); // prettier-ignore
    return `${String(row).padStart(3)} ${problem === undefined ? 'held  ' : 'FAILED'}${counts}  ${measured}`;
  };
  const head = ['rounds', 'seconds', 'acknowledged', 'handled', 'twice'].map((name) => name.padStart(13)).join('');
  return [`row       ${head}  worst figures`, ...judged.map(line)].join('\n');
}

function readOrExit(): Options | undefined {
  try {
    return readOptions(process.argv.slice(2));
  } catch (error) {
    console.error((error as Error).message);
    process.exit(2);
  }
}

const options = readOrExit();
if (options) {
  console.error(`seed ${options.seed}`);
  const judged = await performAll(options);
  const failed = judged.filter(({ problem }) => problem !== undefined).length;
  const verdict = { seed: options.seed, passed: judged.length - failed, failed };
  if (options.output === 'json') console.log(JSON.stringify({ ...verdict, rows: judged }, undefined, 2));
  else console.log(`${table(judged)}\n\n${verdict.passed} held, ${failed} failed, seed ${options.seed}`);
  process.exitCode = failed === 0 && !interrupted.signal.aborted ? 0 : 1;
}
