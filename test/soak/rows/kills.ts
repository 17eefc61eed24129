/** Processes that end. */

import { until } from '../../_support/until.ts';
import type { Row } from '../row.ts';
import type { Site } from '../site.ts';

/** What a killed sidecar had in hand, or had handled and not yet acknowledged, and is handled once more. */
const IN_HAND = 200;
/** How long a sidecar needs to start on a busy machine. */
const READY_MS = 5000;
const PROCESSING_TIMEOUT_MS = 3000;

/** Publishes `count` events, all of which are acknowledged. */
async function publish(site: Site, count: number): Promise<void> {
  const answers = await Promise.all(Array.from({ length: count }, () => site.load.publish()));
  site.expect(answers.every(({ status }) => status === 204), 'every publish is acknowledged'); // prettier-ignore
}

export const KILLS: Readonly<Record<number, Row>> = {
  1: {
    about: 'the sidecar is killed with -9 at 1000 events a second',
    setting: {},
    perSecond: 1000,
    shortRounds: 3,
    async round(site) {
      await site.pause(site.between(200, 1200));
      await site.sidecar.kill();
      site.within('ready after ms', await site.sidecar.start(), READY_MS);
      await site.flows('goes on after ms', 5000);
    },
    after(site, rounds) {
      site.limit('duplicates a kill', site.ledger.duplicates / rounds, IN_HAND);
    },
  },

  2: {
    about: 'the sidecar is killed after the app has answered and before Redis has heard of it',
    setting: { reach: 'proxy', settings: { concurrency: '32', readTimeout: '20s' } },
    async round(site) {
      const { app, ledger, proxy, sidecar } = site;
      let begun = 0;
      app.onBegun = () => begun++;
      await app.become({ delayMs: 4000 });
      const from = ledger.tried;
      await publish(site, 20);
      const all = Array.from({ length: 20 }, (_, index) => from + index);
      await until(() => begun >= 20, 'the app has them in hand');
      proxy.become({ held: ['there'] });
      await until(() => all.every((seq) => ledger.timesOf(seq) === 1), 'the app has handled them');
      await sidecar.kill();
      proxy.cut();
      proxy.become({});
      await sidecar.start();
      await until(() => all.every((seq) => ledger.timesOf(seq) >= 2), 'they were delivered again');
      await site.drains();
      site.expect(all.every((seq) => ledger.timesOf(seq) === 2), 'each was handled twice'); // prettier-ignore
    },
  },

  5: {
    about: 'one of two sidecars is killed, or hangs: the other takes over within processingTimeout + 5 s',
    setting: { sidecars: 2, settings: { processingTimeout: `${PROCESSING_TIMEOUT_MS}ms` } },
    shortRounds: 2,
    async round(site, nth) {
      const [kills, victim] = [nth % 2 === 1, site.sidecars[Math.floor(nth / 2) % 2] ?? site.sidecar];
      let begun = 0;
      site.app.onBegun = () => begun++;
      await site.app.become({ delayMs: 2500 });
      await publish(site, 40);
      await until(() => begun >= 20, 'both have their hands full');
      if (kills) await victim.kill();
      else victim.signal('SIGSTOP');
      const began = performance.now();
      await site.app.become({});
      await until(() => site.isSettled(), 'everything is taken over');
      site.app.read();
      const how = kills ? 'killed' : 'hanging';
      site.within(`settled after one was ${how}, ms`, performance.now() - began, PROCESSING_TIMEOUT_MS + 5000);
      site.expect(begun >= 50, `the ten it had in hand were delivered again: ${begun} deliveries of 40`);
      if (kills) await victim.start();
      else victim.signal('SIGCONT');
      await victim.ready();
    },
  },

  8: {
    about: 'SIGTERM with 64 events in hand: they are finished, the rest waits for the next sidecar',
    setting: { settings: { concurrency: '64' } },
    async round(site, _nth, isShort) {
      const { app, ledger, sidecar } = site;
      const delayMs = isShort ? 1500 : 5000;
      let begun = 0;
      app.onBegun = () => begun++;
      await app.become({ delayMs });
      const before = ledger.duplicates;
      await publish(site, 100);
      await until(() => begun >= 64, '64 are in hand');
      const began = performance.now();
      const code = await sidecar.stop();
      site.within('stopped after ms', performance.now() - began, delayMs + 1000);
      site.expect(code === 0, `it exits with ${code}`);
      await app.become({});
      await sidecar.start();
      await site.drains();
      site.expect(ledger.duplicates === before, `${ledger.duplicates - before} were handled twice`);
    },
  },

  47: {
    about: 'sidecar, app and Redis are killed with -9 at random at 1000 events a second',
    setting: { settings: { readTimeout: '2s' } },
    perSecond: 1000,
    shortRounds: 25,
    async round(site, nth) {
      const { app, server, sidecar } = site;
      await site.pause(site.between(100, 500));
      if (nth % 6 === 0) {
        await app.kill();
        await app.start();
      }
      if (nth % 5 === 0) {
        await server.kill();
        await site.pause(site.between(0, 300));
        await server.start();
      } else {
        await sidecar.kill();
        site.within('ready after ms', await sidecar.start(), READY_MS);
      }
      await site.flows('goes on after ms', 5000);
    },
  },

  48: {
    about: '500 events a second of which 2 % fail, with a restart every 10 minutes',
    setting: {},
    perSecond: 500,
    shortRounds: 2,
    async round(site, _nth, isShort) {
      const { app, sidecar } = site;
      await app.become({ failures: 0.02 });
      const seconds = isShort ? 3 : 600;
      let warm = Infinity;
      for (let second = 1; second <= seconds; second++) {
        await site.pause(1000);
        const { residentMb, files } = sidecar.usage();
        site.note('resident MiB', residentMb);
        site.limit('open files', files, 700);
        if (second === 60) warm = residentMb;
      }
      site.limit('resident MiB more than after a minute', Math.max(0, sidecar.usage().residentMb - warm), 40);
      const code = await sidecar.stop();
      site.expect(code === 0, `it exits with ${code}`);
      await sidecar.start();
      await site.flows('goes on after ms', 5000);
    },
  },
};
