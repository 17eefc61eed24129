/** From runs to medians, and from medians to a table. */

import { cpus, totalmem } from 'node:os';
import type { Options } from './options.ts';
import type { Figure, Figures } from './scenarios.ts';

/** One measured run. `unit` is what the bare server made in the same round. */
export interface Run {
  readonly scenario: string;
  readonly broker: string;
  readonly binary: string;
  readonly round: number;
  readonly figures: Figures;
  readonly unit: Figures;
  /** Why there are no figures. */
  readonly error?: string;
}

/** The middle of what the rounds gave, with the factor to the unit where the unit has such a figure. */
export interface Median {
  readonly value: number;
  readonly factor?: number;
}

export interface Row {
  readonly scenario: string;
  readonly broker: string;
  readonly binary: string;
  readonly medians: Readonly<Partial<Record<Figure, Median>>>;
  readonly error?: string;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] as number;

function medians(runs: readonly Run[]): Row['medians'] {
  const names = new Set(runs.flatMap(({ figures }) => Object.keys(figures) as Figure[]));
  const entries = [...names].map((name) => {
    const values = runs.flatMap(({ figures }) => figures[name] ?? []);
    const factors = runs.flatMap(({ figures, unit }) => (unit[name] ? (figures[name] ?? 0) / unit[name] : []));
    return [name, { value: median(values), ...(factors.length > 0 && { factor: median(factors) }) }] as const;
  });
  return Object.fromEntries(entries);
}

/** One row for each scenario, broker and binary, in the order of the runs. */
export function summarise(runs: readonly Run[]): Row[] {
  const groups = Map.groupBy(runs, ({ scenario, broker, binary }) => JSON.stringify([scenario, broker, binary]));
  return [...groups.values()].map((group) => {
    const { scenario, broker, binary } = group[0] as Run;
    const error = group.find((run) => run.error !== undefined)?.error;
    const good = group.filter((run) => run.error === undefined);
    return { scenario, broker, binary, medians: medians(good), ...(error !== undefined && { error }) };
  });
}

/** Title, figure, decimals. The rest of the figures stand in a last column, named. */
const COLUMNS: readonly [string, Figure, number][] = [
  ['msg/s', 'perSecond', 0],
  ['CPU us', 'cpuUs', 1],
  ['p50 ms', 'p50Ms', 2],
  ['p99 ms', 'p99Ms', 2],
  ['peak MB', 'peakMb', 0],
];
const OTHERS: readonly [string, Figure, number][] = [
  ['ready after ms', 'startMs', 0],
  ['CPU to get ready ms', 'startCpuMs', 0],
  ['idle MB', 'idleMb', 0],
  ['idle CPU ms/s', 'idleCpuMsPerS', 2],
  ['broker CPU us', 'brokerCpuUs', 1],
  ['fsyncs a message', 'fsyncsPerMessage', 3],
  ['delivered twice', 'duplicates', 0],
];

function cell({ medians }: Row, figure: Figure, digits: number): string {
  const found = medians[figure];
  if (!found) return '';
  const factor = found.factor === undefined ? '' : ` (${found.factor.toFixed(2)}x)`;
  return found.value.toFixed(digits) + factor;
}

function others(row: Row, first: Row | undefined): string {
  if (row.error !== undefined) return `failed: ${row.error.replaceAll(/\s*\n\s*|\|/g, ' ')}`;
  const list = OTHERS.filter(([, figure]) => row.medians[figure]?.value);
  const parts = list.map(([title, figure, digits]) => `${title} ${cell(row, figure, digits)}`);
  const [own, its] = [row.medians.cpuUs?.value, first?.medians.cpuUs?.value];
  if (first && first !== row && own && its) parts.push(`CPU ${(own / its).toFixed(2)}x of ${first.binary}`);
  return parts.join(', ');
}

/** A Markdown table. "(2.1x)" behind a figure is its factor to the unit; a second sidecar's CPU stands against the first's. */
export function table(rows: readonly Row[]): string {
  const head = ['scenario', 'broker', 'sidecar', ...COLUMNS.map(([title]) => title), 'also'];
  const firsts = new Map<string, Row>();
  const body = rows.map((row) => {
    const key = JSON.stringify([row.scenario, row.broker]);
    const first = firsts.get(key);
    if (!first) firsts.set(key, row);
    const figures = COLUMNS.map(([, figure, digits]) => cell(row, figure, digits));
    return [row.scenario, row.broker, row.binary, ...figures, others(row, first)];
  });
  const widths = head.map((title, index) =>
    Math.max(3, title.length, ...body.map((cells) => (cells[index] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((text, index) => text.padEnd(widths[index] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

/** What the figures were measured on and with. */
export function conditions({ messages, size, inFlight, rounds }: Options, fsyncMs: number): string {
  const [cpu] = cpus();
  return [
    `${cpus().length} x ${cpu?.model ?? 'unknown processor'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version},`,
    `one fsync of 4 KiB ${fsyncMs.toFixed(2)} ms;`,
    `${messages} messages of ${size} bytes, ${inFlight} requests in flight, median of ${rounds}`,
  ].join(' ');
}
