/** npm run soak: see --help. */

import '../../scripts/orphans.mjs';
import { canHaveOwnNetwork, isOwnNetwork, performApart } from './own-network.ts';
import { readOptions, type Options } from './options.ts';
import { reportOf, table, type Judged, type Report } from './report.ts';
import { perform, type Row } from './row.ts';
import { ROWS } from './rows.ts';

const MINUTE_MS = 60_000;

/** The round on its way fails or ends, and no other is begun. */
const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => interrupted.abort());

async function performAll({ rows, minutes, seed, patience }: Options): Promise<Report> {
  const judged: Judged[] = [];
  for (const row of rows) {
    if (interrupted.signal.aborted) break;
    const { about, network } = ROWS[row] as Row;
    const say = (line: string): void => console.error(`${new Date().toISOString().slice(11, 19)} row ${row}: ${line}`);
    const isApart = network === 'own' && !isOwnNetwork;
    if (isApart && !canHaveOwnNetwork()) {
      say('left out: it wants unshare, ip and iptables, and the right to make a network of its own');
      continue;
    }
    if (!isApart) say(about);
    const ms = (minutes * MINUTE_MS) / rows.length;
    const plan = { seed: seed + row, ms, patience, say, signal: interrupted.signal };
    const verdict = await (isApart ? performApart(row, plan) : perform(ROWS[row] as Row, plan));
    if (!isApart)
      say(verdict.problem === undefined ? `held over ${verdict.rounds} rounds` : `FAILED ${verdict.problem}`);
    judged.push({ row, about, ...verdict });
  }
  return reportOf(seed, judged);
}

async function main(): Promise<number> {
  let options: Options | undefined;
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    console.error((error as Error).message);
    return 2;
  }
  if (!options) return 0;
  console.error(`seed ${options.seed}`);
  const report = await performAll(options);
  console.log(options.output === 'json' ? JSON.stringify(report, undefined, 2) : table(report));
  return report.failed === 0 && !interrupted.signal.aborted ? 0 : 1;
}

process.exit(await main());
