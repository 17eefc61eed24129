import test from 'ava';
import { kafkaBroker } from '../../src/brokers/kafka/broker.ts';
import { contextWith } from '../_support/broker-site.ts';
import { freePort } from '../_support/ports.ts';
import { connectionsTo } from '../_support/redis.ts';
import { startSilentServer } from '../_support/silent-server.ts';
import { until } from '../_support/until.ts';

test('opening is given up when told so, be the broker absent or hanging', async (t) => {
  const absent = await freePort();
  const hanging = await startSilentServer(t);
  const lines: string[] = [];
  for (const port of [absent, hanging.port]) {
    const giveUp = new AbortController();
    const settings = { brokers: `127.0.0.1:${port}`, authType: 'none' };
    const opening = kafkaBroker.open(settings, contextWith(lines, 'team', giveUp.signal));
    await until(() => (port === absent ? lines.length > 0 : hanging.met > 0), 'it has tried');
    const began = performance.now();
    giveUp.abort();
    await t.throwsAsync(opening, { message: new RegExp(`^kafka: error connecting to 127\\.0\\.0\\.1:${port}: `) });
    t.true(performance.now() - began < 3000, `it took ${performance.now() - began} ms`);
  }
  t.is(await connectionsTo(absent, 1000), 0);
  await until(() => hanging.open === 0, 'no connection is left');
});
