import { request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { componentFile, startDaprd, temporaryDirectory, type Daprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const KILLS = 50;
const IN_FLIGHT = 16;

/** Publishes without a pause until it is told to stop; notes what was tried and what was acknowledged. */
class Publisher {
  readonly tried = new Set<number>();
  readonly acknowledged = new Set<number>();
  private next = 0;
  private stopped = false;

  async run(daprd: Pick<Daprd, 'httpPort'>): Promise<void> {
    this.stopped = false;
    await Promise.all(
      Array.from({ length: IN_FLIGHT }, async () => {
        while (!this.stopped) {
          const seq = this.next++;
          this.tried.add(seq);
          if (await post(daprd.httpPort, seq)) this.acknowledged.add(seq);
          else this.stopped = true;
        }
      }),
    );
  }

  stop(): void {
    this.stopped = true;
  }
}

function post(port: number, seq: number): Promise<boolean> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json' };
    const path = '/v1.0/publish/pubsub/storm';
    request({ host: '127.0.0.1', port, path, method: 'POST', headers }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode === 204));
    })
      .on('error', () => resolve(false))
      .end(JSON.stringify({ seq }));
  });
}

test(`the sidecar killed with -9 at ${KILLS} random moments under load loses nothing that was acknowledged`, async (t) => {
  t.timeout(900_000);
  const directory = await temporaryDirectory(t);
  const handled = new Set<number>();
  const app = await startHttpApp({
    subscribe: [{ pubsubname: 'pubsub', topic: 'storm', route: '/storm' }],
    reply: ({ event }, nth) => {
      const { seq } = event['data'] as { seq: number };
      if (seq % 10 === 0 && nth === 1) return 500;
      handled.add(seq);
      return 200;
    },
  });
  t.teardown(() => app.close());
  const start = (): Promise<Daprd> =>
    startDaprd(t, {
      directory,
      appPort: app.port,
      resources: { 'p.yaml': componentFile('pubsub.sqlite', { connectionString: `${directory}/storm.db` }) },
    });

  const publisher = new Publisher();
  for (let kill = 0; kill < KILLS; kill++) {
    const daprd = await start();
    const publishing = publisher.run(daprd);
    await wait(20 + Math.random() * 250);
    // However slow the machine, there is something to lose.
    if (kill % 5 === 4) await until(() => publisher.acknowledged.size > 2 * kill, 'some are acknowledged');
    t.is(await daprd.stop('SIGKILL'), 'SIGKILL');
    await publishing;
  }
  const last = await start();
  await until(() => publisher.acknowledged.isSubsetOf(handled), 'every acknowledged event was handled', 60_000);
  t.true(handled.isSubsetOf(publisher.tried));
  t.true(publisher.acknowledged.size > KILLS);
  t.log(`${publisher.acknowledged.size} acknowledged, ${handled.size} handled, ${app.received.length} deliveries`);
  t.is(await last.stop(), 0);
});
