import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { sqliteBroker } from '../../src/brokers/sqlite/broker.ts';
import { contextOf } from './bench.ts';
import { conform } from './suite.ts';

const home = mkdtempSync(join(tmpdir(), 'conformance-'));
test.after.always(() => rmSync(home, { recursive: true, force: true }));

conform({
  name: 'sqlite',
  abilities: { shared: true, durable: true, ordered: true, holdsOrder: true, parallel: true, wildcards: false },
  open: (place, consumerId, concurrency) =>
    sqliteBroker.open(
      { connectionString: join(home, `${place}.db`), concurrency: String(concurrency) },
      contextOf(consumerId, home),
    ),
});
