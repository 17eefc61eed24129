import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { pluggableBroker } from '../../src/brokers/pluggable/broker.ts';
import { Plugin } from '../_support/plugin.ts';
import { contextOf } from './bench.ts';
import { conform } from './suite.ts';

let folder = '';
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plugins-'));
});
const plugins = new Map<string, Plugin>();
test.after.always(async () => {
  for (const plugin of plugins.values()) plugin.stop();
  await rm(folder, { recursive: true, force: true });
});

conform({
  name: 'pluggable',
  // The component of the tests is shared and durable. Attempts are not: only the sidecar that made them counts them.
  abilities: { shared: false, durable: false, ordered: true, holdsOrder: false, parallel: true, wildcards: false },
  open: async (place, consumerId, concurrency) => {
    if (!plugins.has(place)) plugins.set(place, await Plugin.start({ socket: join(folder, `${place}.sock`) }));
    const factory = await pluggableBroker(`pubsub.${place}`, folder);
    if (!factory) throw new Error('no socket');
    return factory.open({ concurrency: String(concurrency) }, { ...contextOf(consumerId, ''), name: consumerId });
  },
});
