/** What the log tells of events that were not handled: which one, of which topic, why, and what became of it. */

import test from 'ava';
import { publish, startDaprd } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';

const sub = (topic: string, more = {}) => ({ pubsubname: 'pubsub', topic, route: `/${topic}`, ...more });
const TO_DEAD = { deadLetterTopic: 'dead' };

test('what becomes of an event that was not handled is logged with its id, its topic and the reason', async (t) => {
  const app = await startHttpApp({
    subscribe: [
      ...[sub('dropped'), sub('expired'), sub('missing'), sub('failed', TO_DEAD), sub('unknown', TO_DEAD)],
      sub('unwanted', {
        route: undefined,
        routes: { rules: [{ match: 'event.type == "x"', path: '/x' }] },
        ...TO_DEAD,
      }),
    ],
    reply: ({ path }) => {
      if (path === '/dropped') return { status: 200, body: '{"status":"DROP"}' };
      return path === '/failed' ? 500 : 404;
    },
  });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port });
  for (const topic of ['dropped', 'expired', 'missing', 'failed', 'unknown', 'unwanted']) {
    const event = { specversion: '1.0', id: `event-${topic}`, type: 'y', source: 's', data: 1 };
    const query = topic === 'expired' ? 'metadata.ttlInSeconds=0' : '';
    await publish(daprd, topic, event, { type: 'application/cloudevents+json', query });
  }
  const about = (topic: string): string[] =>
    daprd
      .log()
      .split('\n')
      .filter((line) => line.includes(`event-${topic}`) && line.includes('level=warning'));
  const tells = async (topic: string, count: number, ...wanted: RegExp[]): Promise<void> => {
    await until(() => about(topic).length >= count, `${topic} is told of`).catch(() => undefined);
    for (const one of wanted)
      t.true(
        about(topic).some((line) => one.test(line)),
        `${one.source}: ${about(topic).join('\n')}`,
      );
  };
  const letter = (topic: string, reason: string): RegExp =>
    new RegExp(`sent to dead letter topic dead, origin topic: ${topic}, pub/sub event event-${topic}: ${reason}`);
  await tells(
    'dropped',
    1,
    /DROP status returned from app while processing pub\/sub event event-dropped, topic: dropped/,
  );
  await tells('expired', 1, /dropping expired pub\/sub event event-expired as of \S+, topic: expired/);
  await tells('missing', 1, /"retriable error returned from app while .* topic: missing: status code returned: 404/);
  await tells('failed', 2, letter('failed', 'status code returned: 500'));
  const final = /non-retriable error returned from app while .* topic: unknown: status code returned: 404/;
  await tells('unknown', 2, final, letter('unknown', 'status code returned: 404'));
  await tells('unwanted', 1, letter('unwanted', 'no matching route'));
});
