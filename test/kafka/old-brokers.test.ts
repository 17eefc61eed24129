/** Brokers that know less than those of today. */

import test from 'ava';
import { publish, Recorder, retry, subscribe, SUCCESS, text, texts, textOf } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { freePorts } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { openOldBroker, RELEASES, type Release } from './_old-broker.ts';
import { openSite } from './_site.ts';

const ends: (() => Promise<void>)[] = [];
/** Each test has a way of its own. */
const LISTENERS = [...RELEASES.map((release) => listenerOf(release)), 'SHORTER'];
const ports = new Map<string, number>();
let server: KafkaServer;
function listenerOf(release: Release): string {
  return `V${release.replace('.', '')}`;
}
test.before(async () => {
  for (const [index, port] of (await freePorts(LISTENERS.length)).entries())
    ports.set(LISTENERS[index] as string, port);
  const advertised = LISTENERS.map((name) => `${name}://127.0.0.1:${ports.get(name)}`);
  server = await KafkaServer.start((end) => ends.push(end), {
    listeners: Object.fromEntries(LISTENERS.map((name) => [name, 'PLAINTEXT'])),
    properties: {
      'advertised.listeners': ['PLAINTEXT://127.0.0.1:{port}', ...advertised].join(),
      'num.partitions': '2',
    },
  });
});
test.after.always(() => Promise.all(ends.map((end) => end())));

for (const release of RELEASES) {
  test(`a broker that knows what ${release} knew is published to and read, and nothing newer is asked of it`, async (t) => {
    const port = ports.get(listenerOf(release)) as number;
    const tooNew = await openOldBroker(t, port, server.addressOf(listenerOf(release)), release);
    const topic = `old-${listenerOf(release)}`;
    const brokers = `127.0.0.1:${port}`;
    const open = (settings: Record<string, string> = {}) => openSite(t, { brokers, ...settings }, topic);
    const first = await open({ compression: 'gzip' });
    const park = new Recorder((message) => (textOf(message) === 'm-3' ? retry(Infinity) : SUCCESS));
    await subscribe(first.broker, topic, park);
    const all = texts('m', 20);
    const keyed = all.map((content) => ({ ...text(content), metadata: { partitionKey: content, colour: 'red' } }));
    t.deepEqual(await first.broker.publish(topic, keyed), []);
    await until(() => park.messages.length === 20, 'all arrive');
    t.deepEqual(park.texts.toSorted(), all.toSorted());
    t.deepEqual(new Set(park.messages.map(({ metadata }) => metadata['colour'])), new Set(['red']));
    await until(async () => {
      const { lag, pending, parked } = await first.broker.stats(topic);
      return lag === 0 && pending === 1 && parked === 1;
    }, 'one is parked'); // prettier-ignore
    t.is(await first.broker.unpark(topic), 1);
    await until(() => park.messages.length === 21, 'it comes again');
    // Another member, and then it alone: what was settled behind the parked one stays settled.
    const second = await open();
    const rest = new Recorder();
    await subscribe(second.broker, topic, rest);
    await first.broker.close();
    await publish(second.broker, topic, 'last');
    await until(() => rest.texts.includes('last') && rest.texts.includes('m-3'), 'it has everything');
    t.deepEqual(rest.texts.toSorted(), ['last', 'm-3']);
    t.deepEqual(tooNew, []);
  });
}

test('a topic made anew on a broker that tells no ids is read from its start where it is shorter than the old one', async (t) => {
  const port = ports.get('SHORTER') as number;
  await openOldBroker(t, port, server.addressOf('SHORTER'), '2.7');
  const { broker, lines } = await openSite(t, { brokers: `127.0.0.1:${port}` }, 'shorter');
  const recorder = new Recorder();
  await subscribe(broker, 'shorter', recorder);
  await publish(broker, 'shorter', ...texts('old', 20));
  await until(() => recorder.messages.length === 20, 'the old ones arrive');
  const admin = server.client().admin();
  await admin.connect();
  t.teardown(() => admin.disconnect());
  await admin.deleteTopics({ topics: ['shorter'] });
  const all = texts('new', 3);
  await until(() => broker.publish('shorter', all.map(text)).then((failures) => failures.length === 0), 'it is there'); // prettier-ignore
  await until(() => recorder.messages.length >= 23, 'the new ones arrive');
  t.deepEqual(recorder.texts.slice(20).toSorted(), all);
  t.log(lines);
});
