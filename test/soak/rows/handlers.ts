/** Apps and events that are slow, fail or are bad. */

import { until } from '../../_support/until.ts';
import type { Row } from '../row.ts';
import type { Site } from '../site.ts';

const MEBIBYTE = 2 ** 20;
const TRIES = 3;

/** -1: for ever. */
const retries = (pause: string, maxRetries: number): string => `apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: soak
spec:
  policies: { retries: { some: { policy: constant, duration: ${pause}, maxRetries: ${maxRetries} } } }
  targets: { components: { pubsub: { inbound: { retry: some } } } }
`;
/** The pauses are longer than the app needs to start again: a dead letter that is given up is parked for good. */
const FEW = retries('4s', TRIES - 1);

/** What somebody may have written to the stream; each has to reach the app or the dead-letter topic. */
const POISON: readonly (string | Buffer)[] = [
  '',
  'no JSON',
  '{"broken": ',
  '[1,2,3]',
  'null',
  '{"__proto__":{"polluted":true},"constructor":{"prototype":{}}}',
  `${'['.repeat(50_000)}${']'.repeat(50_000)}`,
  Buffer.from([0, 255, 254, 0xc3, 0x28, 0]),
  '{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"%%%"}',
  '{"specversion":"1.0","id":7,"source":[],"type":{},"traceparent":{"a":1},"data":{}}',
  '{"specversion":"9.9","id":"1","source":"s","type":"t","expiration":"never","data":"x"}',
  JSON.stringify({ specversion: '1.0', id: 'big', source: 's', type: 't', data: 'x'.repeat(4 * MEBIBYTE) }),
];

/** How many events are handled in so many seconds, under a steady load. */
async function handledWithin({ ledger, load, pause }: Site, seconds: number): Promise<number> {
  const before = ledger.handled;
  load.start(300, Infinity);
  await pause(seconds * 1000);
  await load.stop();
  return ledger.handled - before;
}

export const HANDLERS: Readonly<Record<number, Row>> = {
  6: {
    about: 'the app fails every event, then is killed, for a minute: no dead letters, and it goes on when it is back',
    setting: { deadLetters: true, resources: { 'retries.yaml': retries('1s', -1) } },
    mostLines: 100, // each event that fails is told of
    perSecond: 50,
    shortRounds: 2,
    async round(site, nth, isShort) {
      const { app, server } = site;
      await site.flows('flows before after ms', 5000);
      if (nth % 2 === 1) await app.become({ failures: 1 });
      else await app.kill();
      await site.pause(isShort ? 3000 : 60_000);
      if (nth % 2 === 1) await app.become({});
      else await app.start();
      await site.flows('goes on after ms', 2000);
      await site.load.stop();
      await site.catchesUp('what had failed is handled after ms', 10_000);
      site.expect(Number(await server.ask('xlen', 'dead')) === 0, 'nothing went to the dead-letter topic');
    },
  },

  10: {
    about: 'handlers take ten times processingTimeout: nothing is delivered twice',
    setting: { sidecars: 2, settings: { processingTimeout: '1s' } },
    async round(site) {
      const { app, ledger, load } = site;
      let begun = 0;
      app.onBegun = () => begun++;
      await app.become({ delayMs: 10_000 });
      for (let i = 0; i < 10; i++) await load.publish();
      await site.catchesUp('handled after ms', 13_000);
      site.expect(begun === 10 && ledger.duplicates === 0, `10 events were delivered ${begun} times`);
    },
  },

  11: {
    about: 'a sidecar stalls for longer than processingTimeout and goes on with what is not its own any more',
    setting: { sidecars: 2, settings: { processingTimeout: '1s' } },
    perSecond: 300,
    shortRounds: 2,
    async round(site, nth) {
      const stalled = site.sidecars[nth % 2] ?? site.sidecar;
      await site.app.become({ delayMs: 20 });
      await site.pause(site.between(300, 800));
      stalled.signal('SIGSTOP');
      await site.pause(2500);
      stalled.signal('SIGCONT');
      await stalled.ready();
      await site.flows('goes on after ms', 3000);
    },
  },

  17: {
    about: 'the stream is trimmed under a slow group: no loop, and what is new arrives',
    setting: { settings: { maxLenApprox: '100', concurrency: '1' } },
    mayLose: true,
    async round(site) {
      const { app, ledger, load, sidecar } = site;
      await app.become({ delayMs: 100 });
      load.start(1000, Infinity);
      await until(() => ledger.acknowledged > 1500, 'more is published than the stream may keep');
      await load.stop();
      await app.become({});
      await until(() => site.isSettled(), 'the group has nothing left');
      site.note('lost by trimming', ledger.open().length);
      await load.publish();
      const newest = ledger.newestAcknowledged;
      await until(() => ledger.timesOf(newest) === 1, 'what is new arrives');
      site.expect(sidecar.isRunning, 'the sidecar runs');
    },
  },

  26: {
    about: 'poison: events that are none, that fail for ever, and that end the app',
    setting: { deadLetters: true, resources: { 'retries.yaml': FEW } },
    mostLines: 100, // each event that fails is told of
    perSecond: 50,
    async round(site) {
      const { app, load, server, sidecar } = site;
      const begun = new Map<string, number>();
      app.onBegun = (seq) => begun.set(seq, (begun.get(seq) ?? 0) + 1);
      const client = server.client();
      for (const data of POISON) await client.call('xadd', ['storm', '*', 'data', data]);
      await until(() => (begun.get('-') ?? 0) >= POISON.length, 'all of them were delivered');
      const failing = await load.publish('storm', { failing: true });
      await until(() => site.ledger.timesOf(failing.seq) > 0, 'what fails for ever reaches the dead-letter topic');
      const tries = begun.get(String(failing.seq));
      site.expect(tries === TRIES, `it was tried ${tries} times instead of ${TRIES}`);
      const deadly = await load.publish('storm', { deadly: true });
      await until(async () => {
        if (!app.isRunning) await app.start();
        return site.ledger.timesOf(deadly.seq) > 0;
      }, 'what ends the app reaches the dead-letter topic', 60_000); // prettier-ignore
      site.expect(sidecar.isRunning, 'the sidecar runs');
      await site.flows('goes on after ms', 3000);
    },
  },

  28: {
    about: 'a backlog of a topic that is handled slowly; its sibling is fast',
    setting: {},
    async round(site, _nth, isShort) {
      const { app, load, sidecar } = site;
      const seconds = isShort ? 3 : 60;
      const alone = await handledWithin(site, seconds);
      const before = sidecar.usage().residentMb;
      await app.become({ slowMs: 1000 });
      const backlog = isShort ? 2000 : 100_000;
      for (let sent = 0; sent < backlog; sent += 100) {
        await Promise.all(Array.from({ length: 100 }, () => load.publish('slow')));
      }
      const share = (100 * (await handledWithin(site, seconds))) / alone;
      site.expect(share >= (isShort ? 15 : 80), `the sibling kept ${Math.round(share)} % of its rate`);
      site.note('sibling lost % of its rate', Math.max(0, 100 - share));
      site.limit('resident MiB more', sidecar.usage().residentMb - before, 64);
      await app.become({});
      await site.drains(isShort ? 120_000 : 300_000, 'slow');
    },
  },
};
