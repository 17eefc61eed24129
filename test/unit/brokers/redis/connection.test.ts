import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { Connection } from '../../../../src/brokers/redis/connection.ts';
import { Teller } from '../../../../src/lib/teller.ts';
import { contextWith } from '../../../_support/broker-site.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

test('who waited in vain for a server that is away leaves nothing behind', async (t) => {
  const backoff = { initialMs: 60_000, factor: 1, maxMs: 60_000, jitter: 0 };
  const teller = new Teller(contextWith([]).log, 'redis');
  const connection = new Connection(() => Promise.reject(new Error('away')), backoff, teller);
  const opening = connection.open(new AbortController().signal);
  const waitInVain = async (rounds: number): Promise<number> => {
    for (let i = 0; i < rounds; i++) {
      await Promise.all(Array.from({ length: 500 }, () => t.throwsAsync(connection.ready(1))));
    }
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };
  const before = await waitInVain(5);
  const grown = (await waitInVain(50)) - before;
  connection.close();
  await t.throwsAsync(opening);
  t.true(grown < 2 * 2 ** 20, `${grown} bytes`);
});
