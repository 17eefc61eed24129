import { type Group, listGroups, removeGroup } from '../brokers/sqlite/groups.ts';
import { type DatabaseOptions, readSettings } from '../brokers/sqlite/settings.ts';
import type { ComponentSpec } from '../config/component.ts';
import { openComponents } from '../config/open-components.ts';
import { awaitedSecretStore } from '../config/secrets.ts';
import { nearest } from '../lib/nearest.ts';
import type { Call } from './commands.ts';
import { confirmed } from './confirm.ts';
import { chosen, componentsOf, NEVER, storesOf, warningsOnly } from './direct.ts';
import { environment } from './environment.ts';
import { Exit, Failure } from './failure.ts';
import { Options } from './options.ts';
import { printData, table } from './output.ts';

const TITLES = ['GROUP', 'TOPIC', 'LAG', 'PENDING', 'PARKED', 'IN USE'];

/** Prints the groups of the embedded broker and how far they are, or removes one. */
export async function groups({ options }: Call): Promise<number> {
  const database = await databaseOf(options);
  const name = options.text('remove');
  const found = name === undefined ? listGroups(database) : await remove(database, name, options.on('yes') ?? false);
  const shown = (): string => (name === undefined ? table(TITLES, found.map(cells)) : removal(found));
  await printData(found, options.text('output'), shown);
  return Exit.done;
}

/** The groups of the component that is found without any flag. */
export async function groupNames(): Promise<string[]> {
  const database = await databaseOf(new Options()).catch(() => undefined);
  return database ? namesOf(listGroups(database)) : [];
}

const namesOf = (all: readonly Group[]): string[] => [...new Set(all.map(({ group }) => group))];

async function databaseOf(options: Options): Promise<DatabaseOptions> {
  const env = environment(options.text('runtime-path'));
  const appId = 'dapr-cli';
  const log = warningsOnly();
  const place = { environment: env, directories: options.list('resources-path'), appId };
  const specs = await componentsOf(place, log);
  const brokers = specs.filter(({ type }) => type.startsWith('pubsub.'));
  const spec = chosen(brokers, options.text('pubsub') ?? '');
  if (spec.type !== 'pubsub.sqlite') {
    throw new Failure(`the groups of "${spec.name}" (${spec.type}) are looked at with the tools of that broker`, {
      exit: Exit.notFound,
      code: 'NOT_EMBEDDED',
      next: ['docs/brokers.md names them'],
    });
  }
  const stores = storesOf(spec, specs).map((one) => ({ ...one, ignoreErrors: false }));
  if (stores.length === 0 && awaitedSecretStore(spec, new Map()) !== undefined) throw noStore(spec);
  const findBroker = async (): Promise<undefined> => undefined;
  const components = await openComponents(stores, { ...place, findBroker, denied: [], log, signal: NEVER });
  return readSettings((await components.resolve(spec)).settings, env.home).database;
}

/** Without its secrets it would be another file. */
const noStore = ({ name, secretStore }: ComponentSpec): Failure =>
  new Failure(`"${name}" refers to secrets of "${secretStore}", which is in no file`, {
    exit: Exit.notFound,
    code: 'NO_SECRET_STORE',
    next: ['--resources-path <directory that has it>'],
  });

async function remove(database: DatabaseOptions, name: string, sure: boolean): Promise<Group[]> {
  const all = listGroups(database);
  const wanted = all.filter(({ group }) => group === name);
  if (wanted.length === 0) throw noSuchGroup(name, all);
  if (!sure && !(await confirmed(`Remove group ${name} and what it has not handled: ${unhandled(wanted)}?`))) return [];
  const removed = removeGroup(database, name);
  const used = removed.filter(({ inUse }) => inUse);
  if (used.length === 0) return removed;
  throw new Failure(`a sidecar that runs takes messages for ${name}`, {
    exit: Exit.failed,
    code: 'IN_USE',
    why: `of ${used.map(({ topic }) => topic).join(', ')}`,
    next: ['dapr list', `dapr stop ${name}`],
  });
}

function noSuchGroup(name: string, all: readonly Group[]): Failure {
  const near = nearest(name, namesOf(all));
  return new Failure(`there is no group "${name}"`, {
    exit: Exit.notFound,
    code: 'NO_GROUP',
    next: [near === undefined ? '`dapr groups` lists them' : `did you mean ${near}?`],
  });
}

const unhandled = (all: readonly Group[]): string =>
  all.map(({ topic, lag, pending }) => `${lag + pending} of ${topic}`).join(', ');

const removal = (all: readonly Group[]): string =>
  all.length === 0 ? 'nothing was done\n' : `removed ${all[0]?.group}, which had not handled ${unhandled(all)}\n`;

const cells = ({ group, topic, lag, pending, parked, inUse }: Group): string[] => [
  group,
  topic,
  ...[lag, pending, parked].map(String),
  inUse ? 'yes' : 'no',
];
