import { type Instance, instances } from '../lib/registry.ts';
import { aliases, type Call, shownCommands } from './commands.ts';
import { apiToken } from './environment.ts';
import { Exit } from './failure.ts';
import { type CommandName, type Flag, FLAGS, flagsOf, namesOf } from './flags.ts';

/** Prints what the last word could become, one a line; nothing leaves it to the shell to offer files. */
export async function complete({ operands, home }: Call): Promise<number> {
  const begun = (operands.at(-1) ?? '').replace(/^""$/, '');
  const before = operands.slice(0, -1);
  const found = (await candidates(before, home)).filter(
    (one) => one.startsWith(begun) && (begun !== '' || !one.startsWith('-')),
  );
  if (found.length > 0) process.stdout.write(`${found.join('\n')}\n`);
  return Exit.done;
}

async function candidates(before: readonly string[], home: string): Promise<string[]> {
  const word = before.find((one, index) => aliases.has(one) && !takesValue(before[index - 1]));
  const command = word === undefined ? undefined : aliases.get(word);
  const flags = command === undefined ? FLAGS : flagsOf(command);
  const asked = flags.find((flag) => isSpelling(flag, before.at(-1) ?? ''));
  if (asked && asked.kind !== 'boolean') return valuesOf(asked, home);
  const names = flags
    .filter((flag) => !flag.ignored && !flag.refused)
    .map(({ name, negated }) => (negated ? `--no-${name}` : `--${name}`));
  return [...(await operandsOf(command, home)), ...new Set(names)];
}

const isSpelling = (flag: Flag, word: string): boolean =>
  namesOf(flag).some((name) => word === (name.length === 1 ? `-${name}` : `--${name}`));

const takesValue = (word: string | undefined): boolean =>
  FLAGS.some((flag) => flag.kind !== 'boolean' && isSpelling(flag, word ?? ''));

async function operandsOf(command: CommandName | undefined, home: string): Promise<string[]> {
  if (command === undefined || command === 'help') return shownCommands.map(({ name }) => name);
  if (command === 'stop') return appIds(home);
  return command === 'completion' ? ['bash', 'zsh', 'fish', 'powershell'] : [];
}

const appIds = (home: string): string[] => [...new Set(instances(home).map(({ appId }) => appId))];

async function valuesOf(flag: Flag, home: string): Promise<string[]> {
  if (flag.choices) return [...flag.choices];
  if (flag.name === 'app-id' || flag.name === 'publish-app-id' || flag.name === 'sidecar') return appIds(home);
  if (flag.name === 'remove') return (await import('./groups.ts')).groupNames();
  if (flag.name !== 'pubsub' && flag.name !== 'topic') return [];
  const { addressOf, loadedBy } = await import('./sidecar-api.ts');
  const ask = (instance: Instance) => loadedBy(addressOf(instance), apiToken(), 100).catch(() => undefined);
  const all = await Promise.all(instances(home).map(ask));
  const names = all.flatMap((loaded) => (flag.name === 'pubsub' ? loaded?.pubsubs : loaded?.topics) ?? []);
  return [...new Set(names)];
}
