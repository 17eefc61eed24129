/** A fault scenario, and how it is performed: once, or again and again until its time is over. */

import { Ledger } from './ledger.ts';
import { Site, type Setting } from './site.ts';

export interface Row {
  /** What happens, in a few words. */
  readonly about: string;
  readonly setting: Setting;
  /** Rounds of the short form, as it is in CI. Default: 1. */
  readonly shortRounds?: number;
  /** Events a second while it runs; none: the rounds publish themselves. */
  readonly perSecond?: number;
  /** Its rounds start the sidecars. Default: they run when the first round begins. */
  readonly startsItself?: boolean;
  /** It changes the rules of the network, and runs where there is nobody else. Default: it does not. */
  readonly network?: 'own';
  /** Lines of one kind that a second may bring in the log. Default: 10. */
  readonly mostLines?: number;
  /** What trimming took is not missed. */
  readonly mayLose?: boolean;
  /** Throws when something does not hold. */
  round(site: Site, nth: number, isShort: boolean): Promise<void>;
  /** What must hold in the end, beside what must always. */
  after?(site: Site, rounds: number): void;
}

export interface Plan {
  readonly seed: number;
  /** How long rounds are begun for; 0 for the short form. */
  readonly ms: number;
  /** What limits of time are multiplied by. */
  readonly patience: number;
  /** Hears what goes on. */
  readonly say: (line: string) => void;
  /** Aborts when no further round is to begin. */
  readonly signal: AbortSignal;
}

export interface Verdict {
  readonly rounds: number;
  readonly seconds: number;
  readonly acknowledged: number;
  readonly handled: number;
  readonly duplicates: number;
  readonly figures: Readonly<Record<string, number>>;
  /** Why it failed; absent when everything held. */
  readonly problem?: string;
}

const MOST_LINES = 10;
const TELL_MS = 30_000;

/** Never rejects: what went wrong is in the verdict. */
export async function perform(row: Row, plan: Plan): Promise<Verdict> {
  const ends: (() => Promise<void>)[] = [];
  const began = performance.now();
  let site: Site | undefined;
  let rounds = 0;
  let problem: string | undefined;
  try {
    const chance = { random: randomOf(plan.seed), patience: plan.patience };
    site = await Site.open(row.setting, chance, (end) => ends.push(end));
    for await (const done of performRounds(row, plan, site)) rounds = done;
  } catch (error) {
    problem = `in round ${rounds + 1}: ${(error as Error).message}\n${lastWords(site)}`;
  } finally {
    for (const end of ends.toReversed()) await end();
  }
  const { acknowledged, handled, duplicates } = site?.ledger ?? new Ledger();
  const figures = Object.fromEntries(site?.figures ?? []);
  const seconds = Math.round((performance.now() - began) / 1000);
  return { rounds, seconds, acknowledged, handled, duplicates, figures, ...(problem !== undefined && { problem }) };
}

/** Of each sidecar's log. */
const lastWords = (site: Site | undefined): string =>
  (site?.sidecars ?? []).map(({ log }) => log.last.slice(-10).join('\n')).join('\n\n');

/** Gives the number of each round that is done. */
async function* performRounds(row: Row, { ms, say, signal }: Plan, site: Site): AsyncGenerator<number> {
  const { ledger, load } = site;
  const end = performance.now() + ms;
  let told = performance.now();
  let nth = 0;
  if (!row.startsItself) await site.startSidecars();
  const wantsMore = (): boolean => nth < (row.shortRounds ?? 1) || performance.now() < end;
  while (wantsMore() && !signal.aborted) {
    if (row.perSecond !== undefined) load.start(row.perSecond);
    await row.round(site, ++nth, ms === 0);
    yield nth;
    if (performance.now() - told < TELL_MS) continue;
    told = performance.now();
    say(`round ${nth}: ${ledger.acknowledged} acknowledged, ${ledger.open().length} not handled yet`);
  }
  await load.stop();
  if (!row.mayLose) await site.drains();
  row.after?.(site, nth);
  site.expect(ledger.invented.length === 0, `handled and never published: ${ledger.invented.slice(0, 10).join(' ')}`);
  for (const { log } of site.sidecars) {
    site.limit('lines a second of one kind', log.busiest.lines, row.mostLines ?? MOST_LINES);
  }
}

/** Numbers from 0 to 1 that depend on nothing but the seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
