/** Networks that are cut, swallow, lose, delay and are narrow. */

import { execFileSync } from 'node:child_process';
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
  { name: '30 % lost', weather: { lost: 0.3 }, ms: 5000, works: true },
];
const LONG_SPELLS: readonly Spell[] = [
  { name: 'cut for 10 s', weather: { down: true }, ms: 10_000 },
  { name: 'cut for 2 min', weather: { down: true }, ms: 120_000 },
  { name: 'half-open for 1 min', weather: { held: ['there', 'back'] }, ms: 60_000 },
];

/** What the kernel drops of the packets to the server, and of those from it: parts, from 0 to 1. */
interface Loss {
  readonly name: string;
  readonly there: number;
  readonly back: number;
  readonly works?: boolean;
}

const LOSSES: readonly Loss[] = [
  { name: '30 % of the packets lost', there: 0.3, back: 0.3, works: true },
  { name: 'no packet gets there', there: 1, back: 0 },
  { name: 'no packet comes back', there: 0, back: 1 },
];

/** Rules of the network that this process has for itself. */
function lose(port: number, { there, back }: Pick<Loss, 'there' | 'back'>): void {
  const rule = (end: string, share: number): string[] =>
    share === 0
      ? []
      : ['-A', 'INPUT', '-p', 'tcp', end, String(port), ...'-m statistic --mode random --probability'.split(' '), String(share), '-j', 'DROP']; // prettier-ignore
  for (const args of [['-F'], rule('--dport', there), rule('--sport', back)]) {
    if (args.length > 0) execFileSync('iptables', ['-w', ...args]);
  }
}

export const NETWORK: Readonly<Record<number, Row>> = {
  23: {
    about: 'the network between sidecar and Redis is cut, half-open, one-way, late, narrow or lossy',
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

  25: {
    about: 'the kernel loses packets between sidecar and Redis, some or all',
    setting: { settings: { readTimeout: '2s' } },
    network: 'own',
    perSecond: 50,
    shortRounds: LOSSES.length,
    async round(site, nth, isShort) {
      const { name, works, ...loss } = LOSSES[(nth - 1) % LOSSES.length] as Loss;
      await site.flows('flows before after ms', 5000);
      const before = site.sidecar.usage();
      lose(site.server.port, loss);
      if (works) await site.flows(`${name}: flows after ms`, 10_000);
      await site.pause(isShort ? 4000 : site.between(4000, 60_000));
      lose(site.server.port, { there: 0, back: 0 });
      await site.flows(`${name}: goes on after ms`, 5000);
      site.limit('resident MiB more', site.sidecar.usage().residentMb - before.residentMb, 40);
    },
  },
};
