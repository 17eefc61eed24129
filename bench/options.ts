/** The command line of the bench. */

import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BROKERS, isKafka, type BrokerName } from './broker.ts';
import { SCENARIOS } from './scenarios.ts';

export interface Binary {
  readonly name: string;
  /** An executable that takes daprd's flags. */
  readonly path: string;
}

export interface Options {
  readonly binaries: readonly Binary[];
  readonly brokers: readonly BrokerName[];
  readonly scenarios: readonly string[];
  readonly messages: number;
  readonly size: number;
  readonly inFlight: number;
  readonly rounds: number;
  /** Seconds that an idle sidecar is watched, and that paced load lasts. */
  readonly watchSeconds: number;
  /** host:port of a running Kafka; empty for one of our own. */
  readonly kafka: string;
  readonly output: 'table' | 'json';
  readonly verbose: boolean;
}

const describe = (table: Readonly<Record<string, { readonly about: string }>>): string =>
  Object.entries(table)
    .map(([name, { about }]) => `  ${name.padEnd(14)} ${about}`)
    .join('\n');

const KAFKAS = Object.keys(BROKERS).filter(isKafka).join();

const HELP = `Measures what a sidecar costs: starts it as a process, loads it, reads its CPU time from the kernel.

  npm run bench -- [options]

  --bin NAME=PATH       a sidecar to measure: an executable that takes daprd's flags. Again for a second one beside
                        it: the runs alternate, and the table shows the second's CPU against the first's.
                        Default: ours=bin/daprd
  --broker A,B          default: memory,sqlite; kafka stands for all of its kinds, with kafkajs alone beside them
  --scenario A,B        default: all
  --messages N, -n      messages of a run (20000)
  --size BYTES          of a message (1024)
  --in-flight N, -c     requests at a time (32)
  --rounds N, -r        runs of everything, of which the table shows the medians (3)
  --quick               one round of 4000 messages, short watches: to see that it works, not to quote
  --kafka HOST:PORT     where Kafka listens; by default the bench starts one (npm test installs it)
  --output table|json, -o
  --verbose             what the sidecars log, on standard error
  --help, -h

Scenarios:
${describe(SCENARIOS)}

Brokers:
${describe(BROKERS)}

Every round first loads a bare node:http server that reads the same bodies and answers 204. That is the unit:
machines differ and drift, so quote the factor behind a figure, "(2.1x)", rather than the figure.`;

const FLAGS = {
  bin: { type: 'string', multiple: true },
  broker: { type: 'string', default: 'memory,sqlite' },
  scenario: { type: 'string', default: Object.keys(SCENARIOS).join(',') },
  messages: { type: 'string', short: 'n' },
  size: { type: 'string', default: '1024' },
  'in-flight': { type: 'string', short: 'c', default: '32' },
  rounds: { type: 'string', short: 'r' },
  quick: { type: 'boolean', default: false },
  kafka: { type: 'string', default: '' },
  output: { type: 'string', short: 'o', default: 'table' },
  verbose: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

function binary(text: string): Binary {
  const [name = '', path = ''] = text.split(/=(.*)/s);
  if (name === '' || path === '') throw new Error(`--bin wants NAME=PATH, not '${text}'`);
  return { name, path: resolve(path) };
}

function whole(flag: string, text: string): number {
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${flag} wants a whole number from 1 up, not '${text}'`);
  return Number(text);
}

function names<Name extends string>(flag: string, text: string, table: Readonly<Record<Name, unknown>>): Name[] {
  const known = Object.keys(table);
  const given = text.split(',');
  const unknown = given.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--${flag}: there is no '${unknown}', only ${known.join(', ')}`);
  return given as Name[];
}

/** Throws an Error that says what is wrong with a flag. Undefined: the help was asked for, and printed. */
export function readOptions(argv: string[]): Options | undefined {
  const { values } = parseArgs({ args: argv, options: FLAGS });
  if (values.help) {
    console.log(HELP);
    return undefined;
  }
  return {
    binaries: (values.bin ?? ['ours=bin/daprd']).map(binary),
    brokers: names('broker', values.broker.replaceAll(/\bkafka\b(?!-)/g, KAFKAS), BROKERS),
    scenarios: names('scenario', values.scenario, SCENARIOS),
    messages: whole('messages', values.messages ?? (values.quick ? '4000' : '20000')),
    size: whole('size', values.size),
    inFlight: whole('in-flight', values['in-flight']),
    rounds: whole('rounds', values.rounds ?? (values.quick ? '1' : '3')),
    watchSeconds: values.quick ? 2 : 5,
    kafka: values.kafka,
    output: names('output', values.output, { table: 0, json: 0 })[0] ?? 'table',
    verbose: values.verbose,
  };
}
