/** A pluggable broker as a process of its own. Its argument says how it is set up; its parent hears of every event. */

import { Plugin, type PluginOptions } from './plugin.ts';

const options = JSON.parse(process.argv[2] as string) as PluginOptions;
await Plugin.start({ ...options, onEvent: (event) => void process.send?.(event) });
process.send?.({ kind: 'started' });
