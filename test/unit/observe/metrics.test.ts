import test from 'ava';
import { Metrics } from '../../../src/observe/metrics.ts';

test('topics without end do not make series without end', async (t) => {
  const metrics = new Metrics('app', 'default');
  await metrics.load();
  for (let i = 0; i < 3000; i++) metrics.onPublished('pubsub', `topic-${i}`, 1, 0, false);
  const counts = (await metrics.render())
    .split('\n')
    .filter((line) => line.startsWith('dapr_component_pubsub_egress_count{'));
  t.true(counts.length < 2500);
  const total = counts.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  t.is(total, 3000);
});
