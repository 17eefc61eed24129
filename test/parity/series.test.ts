/** Prometheus series as public suites read them: labels in the order of the alphabet, empty ones written. */

import test from 'ava';
import { until } from '../_support/until.ts';
import { startParityApp } from './_app.ts';
import { startSidecar } from './_sidecar.ts';

test('what an app has in hand is counted by topic, and is nothing when it has answered', async (t) => {
  const { promise: released, resolve: release } = Promise.withResolvers<'success'>();
  const bulkSubscribe = { enabled: true, maxMessagesCount: 2, maxAwaitDurationMs: 10 };
  const topics = [
    { topic: 'a', route: '/a' },
    { topic: 'b', route: '/b' },
  ];
  const app = await startParityApp(t, 'http', [...topics, { topic: 'c', route: '/c', bulkSubscribe }], () => released);
  const sidecar = await startSidecar(t, { appPort: app.port });
  for (const topic of ['a', 'b', 'c']) t.is(await sidecar.publish(topic, 1), 204);
  const has = async (topic: string, count: number): Promise<boolean> =>
    (await sidecar.metrics()).includes(
      `dapr_component_pubsub_ingress_in_flight{app_id="app",component="pubsub",namespace="",topic="${topic}"} ${count}\n`,
    );
  t.regex(await sidecar.metrics(), /^# TYPE dapr_component_pubsub_ingress_in_flight gauge$/m);
  for (const topic of ['a', 'b']) await until(() => has(topic, 1), `one of ${topic}`);
  await until(() => has('c', 0), 'none of c, which was answered');
  release('success');
  for (const topic of ['a', 'b', 'c']) await until(() => has(topic, 0), `none of ${topic}`);
});
