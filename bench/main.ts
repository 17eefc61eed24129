/** npm run bench: see --help. */

import '../scripts/orphans.mjs';
import { type BrokerName, BROKERS, isKafka } from './broker.ts';
import { FLOORS } from './floors.ts';
import { fsyncMs } from './fsync.ts';
import { closeKafka } from './kafka.ts';
import type { Load, Loaded } from './load.ts';
import { type Binary, type Options, readOptions } from './options.ts';
import { conditions, type Run, summarise, table } from './report.ts';
import { type Figures, SCENARIOS, type Scenario } from './scenarios.ts';
import { closeAll, NotStarted, Stage } from './stage.ts';
import { groupUsage } from './usage.ts';
import { Worker } from './worker.ts';

const say = (line: string): void => console.error(line);

/** Loads the bare server: what one of the requests costs that the sidecar is about to get. */
async function measureUnit({ messages, size, inFlight }: Options): Promise<Figures> {
  const server = new Worker<'listen', number>('unit.ts');
  const load = new Worker<Load, Loaded>('load.ts');
  try {
    const port = await server.ask('listen');
    const request = {
      protocol: 'http',
      port,
      topic: 'unit',
      run: 0,
      size,
      inFlight,
      keys: 0,
      batch: 1,
      perSecond: 0,
    } as const;
    await load.ask({ ...request, messages: Math.ceil(messages / 5) });
    const group = server.process.pid as number;
    const before = groupUsage(group);
    const { seconds, p50Ms, p99Ms } = await load.ask({ ...request, messages });
    const after = groupUsage(group);
    const cpuUs = ((after.cpuMs - before.cpuMs) * 1000) / messages;
    return { perSecond: messages / seconds, cpuUs, p50Ms, p99Ms, peakMb: after.peakMb };
  } finally {
    server.stop();
    load.stop();
  }
}

interface Planned {
  readonly scenario: string;
  readonly broker: BrokerName;
  readonly binary: Binary;
}

/** No sidecar at all. */
const KAFKAJS: Binary = { name: 'kafkajs', path: '' };

/** What a round consists of: the binaries innermost, so that they meet the machine in the same mood. */
function plan({ brokers, scenarios, binaries }: Options): Planned[] {
  const all = brokers.flatMap((broker) =>
    scenarios.flatMap((scenario) => {
      const beside = isKafka(broker) && FLOORS[scenario] ? [KAFKAJS] : [];
      return [...binaries, ...beside].map((binary) => ({ scenario, broker, binary }));
    }),
  );
  return all.filter(({ scenario, broker }) => BROKERS[broker].durable || !SCENARIOS[scenario]?.needsDurable);
}

async function measure({ scenario, broker, binary }: Planned, options: Options): Promise<Figures> {
  const stage = await Stage.open(binary, broker, options);
  const run = binary === KAFKAJS ? FLOORS[scenario] : (SCENARIOS[scenario] as Scenario).run;
  try {
    return (await run?.(stage)) ?? {};
  } finally {
    await stage.close();
  }
}

/** Set by Ctrl-C: what runs fails as its processes go, and nothing new is begun. */
let interrupted = false;
process.on('SIGINT', () => {
  interrupted = true;
  void closeAll().then(closeKafka);
});

async function measureAll(options: Options): Promise<Run[]> {
  const runs: Run[] = [];
  /** Binaries that did not start on a broker: they are not waited for again. */
  const useless = new Set<string>();
  for (let round = 1; round <= options.rounds; round++) {
    const unit = await measureUnit(options);
    const note = (run: Omit<Run, 'round' | 'unit'>): void => {
      runs.push({ ...run, round, unit });
      const figures = Object.entries(run.figures).map(([name, value]) => `${name} ${value.toFixed(2)}`);
      say(`round ${round} ${run.scenario} ${run.broker} ${run.binary}: ${run.error ?? figures.join(' ')}`);
    };
    note({ scenario: 'unit', broker: '', binary: '', figures: unit });
    for (const planned of plan(options)) {
      if (interrupted) return runs;
      const about = { ...planned, binary: planned.binary.name };
      const pair = `${planned.binary.path} ${planned.broker}`;
      if (useless.has(pair)) continue;
      try {
        note({ ...about, figures: await measure(planned, options) });
      } catch (error) {
        note({ ...about, figures: {}, error: (error as Error).message });
        if (error instanceof NotStarted) useless.add(pair);
      }
    }
  }
  return runs;
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options) {
    const about = conditions(options, fsyncMs());
    say(about);
    const runs = await measureAll(options);
    if (interrupted) process.exit(130);
    const rows = summarise(runs);
    console.log(
      options.output === 'json' ? JSON.stringify({ about, rows, runs }, undefined, 2) : `${about}\n\n${table(rows)}`,
    );
    process.exitCode = rows.some(({ error }) => error !== undefined) ? 1 : 0;
  }
} catch (error) {
  say((error as Error).message);
  process.exitCode = 2;
} finally {
  await closeKafka();
}
