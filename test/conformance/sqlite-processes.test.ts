/** The embedded broker among processes that are killed, stopped and started. */

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test, { type ExecutionContext } from 'ava';
import { sqliteBroker } from '../../src/brokers/sqlite/broker.ts';
import type { Broker } from '../../src/core/broker.ts';
import { until } from '../_support/until.ts';
import { contextOf, Recorder, subscribe, texts } from './bench.ts';
import { crashes, type MeetingPlace } from './crashes.ts';
import { BrokerProcess, type Surroundings } from './processes.ts';

/** A database of the test's own, with the brokers and processes at it; gone at the end. */
class Place implements MeetingPlace {
  readonly home = mkdtempSync(join(tmpdir(), 'processes-'));
  private readonly brokers: Broker[] = [];
  private readonly processes: BrokerProcess[] = [];
  private readonly settings: Record<string, string>;

  constructor(settings: Readonly<Record<string, string>>) {
    this.settings = { connectionString: join(this.home, 'p.db'), ...settings };
  }

  async open(consumerId: string): Promise<Broker> {
    const broker = await sqliteBroker.open(this.settings, contextOf(consumerId, this.home));
    this.brokers.push(broker);
    return broker;
  }

  async start(consumerId: string, surroundings: Surroundings = {}): Promise<BrokerProcess> {
    const { settings, home } = this;
    const started = await BrokerProcess.start({ type: 'pubsub.sqlite', settings, consumerId, home }, surroundings);
    this.processes.push(started);
    return started;
  }

  async close(): Promise<void> {
    await Promise.all(this.processes.map((one) => one.kill()));
    await Promise.all(this.brokers.map((broker) => broker.close()));
    rmSync(this.home, { recursive: true, force: true });
  }
}

function among(
  title: string,
  body: (t: ExecutionContext, place: Place) => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): void {
  test.serial(title, async (t) => {
    const place = new Place(settings);
    try {
      await body(t, place);
    } finally {
      await place.close();
    }
  });
}

crashes(among);

among('no acknowledged message is lost when publishers and consumers are killed', async (t, place) => {
  const rounds = 6;
  const acknowledged: string[] = [];
  const delivered: string[] = [];
  for (let round = 0; round < rounds; round++) {
    const [publisher, consumer] = await Promise.all([place.start('publisher'), place.start('team')]);
    await consumer.subscribe('storm', { hold: false });
    publisher.tell({ order: 'publish', topic: 'storm', prefix: `r${round}`, count: 100_000, inFlight: 16 });
    await publisher.until('acknowledged', 200 + 50 * round);
    await Promise.all(round % 2 === 0 ? [publisher.kill(), consumer.kill()] : [consumer.kill(), publisher.kill()]);
    acknowledged.push(...publisher.texts('acknowledged'));
    delivered.push(...consumer.texts('delivered'));
  }
  const recorder = new Recorder();
  const last = await place.open('team');
  await subscribe(last, 'storm', recorder);
  await until(async () => {
    const { lag, pending } = await last.stats('storm');
    return lag + pending === 0;
  }, 'everything is settled');
  const handled = new Set([...delivered, ...recorder.texts]);
  t.deepEqual(
    acknowledged.filter((content) => !handled.has(content)),
    [],
  );
  t.true(acknowledged.length >= rounds * 200);
});

among(
  'processes that were frozen together keep what they have in hand',
  async (t, place) => {
    const processes = await Promise.all(texts('p', 4).map(() => place.start('team')));
    for (const [index, one] of processes.entries()) await one.subscribe(`frozen-${index}`, { hold: true });
    const publisher = processes[0] as BrokerProcess;
    for (const index of processes.keys()) {
      publisher.tell({ order: 'publish', topic: `frozen-${index}`, prefix: 'm', count: 3, inFlight: 3 });
    }
    await Promise.all(processes.map((one) => one.until('delivered', 3)));
    for (let night = 0; night < 2; night++) {
      const awake = performance.now() + 2500;
      await until(() => performance.now() > awake, 'all had met, and beaten');
      for (const one of processes) one.signal('SIGSTOP');
      const morning = performance.now() + 3500;
      await until(() => performance.now() > morning, 'the processing timeout was over');
      for (const one of processes) one.signal('SIGCONT');
    }
    const end = performance.now() + 5000;
    await until(() => performance.now() > end, 'whoever lost something had heard of it');
    t.deepEqual(
      processes.map((one) => [one.count('delivered'), one.count('aborted')]),
      processes.map(() => [3, 0]),
    );
  },
  { processingTimeout: '3s' },
);

among('an idle process is woken by what others publish', async (t, place) => {
  const [first, second, consumer] = await Promise.all([place.start('p1'), place.start('p2'), place.open('team')]);
  const arrived = new Map<string, number>();
  const recorder = new Recorder((message) => {
    arrived.set(message.data.toString(), performance.now());
    return { kind: 'success' };
  });
  await subscribe(consumer, 'bell', recorder);
  const took: number[] = [];
  for (let index = 0; index < 20; index++) {
    const began = performance.now();
    const [publisher, prefix] = index % 2 === 0 ? [first, `a${index}`] : [second, `b${index}`];
    publisher.tell({ order: 'publish', topic: 'bell', prefix, count: 1, inFlight: 1 });
    await until(() => recorder.messages.length === index + 1, 'it arrived');
    took.push(performance.now() - began);
  }
  took.sort((a, b) => a - b);
  // Without the bell it looks every two seconds.
  t.true((took[10] as number) < 500, `took ${took.map(Math.round).join(' ')} ms`);
});

among('processes that start at the same moment make one database', async (t, place) => {
  const started = await Promise.all(texts('p', 4).map((consumer) => place.start(consumer)));
  await Promise.all(started.map((one) => one.subscribe('race', { hold: false })));
  started.forEach((one, index) =>
    one.tell({ order: 'publish', topic: 'race', prefix: `p${index}`, count: 20, inFlight: 4 }),
  );
  await Promise.all(started.map((one) => one.until('delivered', 80)));
  t.deepEqual(
    started.map((one) => one.count('delivered')),
    [80, 80, 80, 80],
  );
  t.deepEqual(
    started.map((one) => one.count('refused')),
    [0, 0, 0, 0],
  );
  await Promise.all(started.map((one) => one.kill()));
  const broker = await place.open('last');
  await broker.close();
  t.deepEqual(readdirSync(place.home), ['p.db']);
});

among('on a full disk a publish fails, delivery goes on, and what was acknowledged arrives', async (t, place) => {
  const cramped = await place.start('cramped', { maxFileKiB: 400 });
  await cramped.subscribe('full', { hold: false });
  cramped.tell({ order: 'publish', topic: 'full', prefix: 'm', count: 300, inFlight: 1 });
  await cramped.until('published');
  const acknowledged = cramped.texts('acknowledged');
  t.true(acknowledged.length > 0 && cramped.count('refused') > 0);
  t.is(acknowledged.length + cramped.count('refused'), 300);
  const recorder = new Recorder();
  await subscribe(await place.open('roomy'), 'full', recorder);
  await until(() => recorder.messages.length >= acknowledged.length, 'a sibling with room has them all');
  t.deepEqual(recorder.texts.toSorted(), acknowledged.toSorted());
});

/** Node options by which the wall clock is off by as many milliseconds as the file says at the time. */
function clockSetBy(file: string): string {
  const code = `
    import { readFileSync } from 'node:fs';
    const right = Date.now;
    Date.now = () => right() + Number(readFileSync('${file}', 'utf8'));`;
  return `--import=data:text/javascript,${encodeURIComponent(code)}`;
}

for (const [change, when] of [
  ['set back by an hour', -3_600_000],
  ['set forward by an hour', 3_600_000],
] as const) {
  among(`a retry comes in time although the clock is ${change} while it waits`, async (t, place) => {
    const clock = join(place.home, 'clock');
    writeFileSync(clock, '0');
    const nodeOptions = clockSetBy(clock);
    const [first, sibling] = await Promise.all([
      place.start('team', { nodeOptions }),
      place.start('team', { nodeOptions }),
    ]);
    await Promise.all([first, sibling].map((one) => one.subscribe('clock', { hold: false, retryMs: 5000 })));
    first.tell({ order: 'publish', topic: 'clock', prefix: 'm', count: 8, inFlight: 8 });
    const file = new DatabaseSync(join(place.home, 'p.db'), { readOnly: true });
    const waiting = file.prepare('SELECT count(*) AS n FROM pending WHERE owner_id IS NULL AND due > 0');
    await until(() => waiting.get()?.['n'] === 8, 'all wait for their retry');
    file.close();
    writeFileSync(clock, String(when));
    await until(() => first.count('delivered') + sibling.count('delivered') >= 16, 'they came again');
    const attempts = [first, sibling].flatMap(({ news }) =>
      news.flatMap((one) => ('attempt' in one ? [one.attempt] : [])),
    );
    t.deepEqual(attempts.toSorted(), [...Array<number>(8).fill(1), ...Array<number>(8).fill(2)]);
  });
}
