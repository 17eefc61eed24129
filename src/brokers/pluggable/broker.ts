import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import type { BrokerFactory } from '../../core/broker.ts';
import { unlessAborted } from '../../lib/deadline.ts';
import { describeSettings, parseSettings } from '../../lib/settings.ts';
import { SETTINGS } from './settings.ts';

const PREFIX = 'pubsub.';

/**
 * A broker that is a process of its own behind a Unix socket: type `pubsub.my-broker` is whatever serves
 * `my-broker.sock` in the folder. Undefined where there is no such socket, looked up each time: one may come later.
 */
export async function pluggableBroker(type: string, folder: string): Promise<BrokerFactory | undefined> {
  const socket = type.startsWith(PREFIX) ? await socketOf(type.slice(PREFIX.length), folder) : undefined;
  if (socket === undefined) return undefined;
  return {
    type,
    async open(settings, context) {
      const { concurrency } = parseSettings(SETTINGS, settings);
      const { PluggableBroker } = await import('./pluggable-broker.ts');
      const broker = new PluggableBroker(socket, settings, concurrency, context);
      const giveUp = (): void => void broker.close().catch(() => undefined);
      await unlessAborted(context.initSignal, giveUp, broker.open());
      return broker;
    },
    check: (settings) => void parseSettings(SETTINGS, settings),
    describe: describePluggable,
  };
}

export const describePluggable = (): string => describeSettings(SETTINGS);

/** The name counts in any case and without its extension. */
async function socketOf(name: string, folder: string): Promise<string | undefined> {
  const entries = await readdir(folder).catch(() => []);
  for (const entry of entries.toSorted()) {
    if (path.parse(entry).name.toLowerCase() !== name) continue;
    const file = path.join(folder, entry);
    const found = await stat(file).catch(() => undefined);
    if (found?.isSocket()) return file;
  }
  return undefined;
}
