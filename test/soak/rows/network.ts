/** Networks that are cut, swallow, delay and are narrow. */

import type { Weather } from '../../_support/proxy.ts';
import type { Row } from '../row.ts';

interface Spell {
  readonly name: string;
  readonly weather: Weather;
  readonly ms: number;
  /** Events go on being handled meanwhile. */
  readonly works?: boolean;
}

const SPELLS: readonly Spell[] = [
  { name: 'cut', weather: { down: true }, ms: 1000 },
  { name: 'half-open', weather: { held: ['there', 'back'] }, ms: 3000 },
  { name: 'nothing comes back', weather: { held: ['back'] }, ms: 2500 },
  { name: 'nothing gets there', weather: { held: ['there'] }, ms: 2500 },
  { name: 'half a second each way', weather: { delayMs: 250 }, ms: 3000, works: true },
  { name: '64 kB a second', weather: { bytesPerSecond: 65_536 }, ms: 3000, works: true },
];
const LONG_SPELLS: readonly Spell[] = [
  { name: 'cut for 10 s', weather: { down: true }, ms: 10_000 },
  { name: 'cut for 2 min', weather: { down: true }, ms: 120_000 },
  { name: 'half-open for 1 min', weather: { held: ['there', 'back'] }, ms: 60_000 },
];

export const NETWORK: Readonly<Record<number, Row>> = {
  23: {
    about: 'the network between sidecar and Redis is cut, half-open, one-way, late or narrow',
    setting: { reach: 'proxy', settings: { readTimeout: '1s', dialTimeout: '1s' } },
    perSecond: 50,
    shortRounds: SPELLS.length,
    async round(site, nth, isShort) {
      const spells = isShort ? SPELLS : [...SPELLS, ...LONG_SPELLS];
      const { name, weather, ms, works } = spells[(nth - 1) % spells.length] as Spell;
      await site.flows('flows before after ms', 5000);
      const before = site.sidecar.usage();
      site.proxy.become(weather);
      if (works) await site.flows(`${name}: flows after ms`, ms);
      await site.pause(ms);
      site.proxy.become({});
      await site.flows(`${name}: goes on after ms`, 4000);
      site.limit('resident MiB more', site.sidecar.usage().residentMb - before.residentMb, 40);
      site.limit('connections to Redis', site.proxy.connections, 4);
    },
  },
};
