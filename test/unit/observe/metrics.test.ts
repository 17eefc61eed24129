import test from 'ava';
import { Metrics } from '../../../src/observe/metrics.ts';

test('topics without end do not make series without end', async (t) => {
  const metrics = new Metrics('app', 'default');
  await metrics.load();
  for (let i = 0; i < 3000; i++) {
    metrics.onPublished({ pubsub: 'pubsub', topic: `topic-${i}`, ms: 1, failed: 0, isBulk: false });
  }
  const counts = (await metrics.render())
    .split('\n')
    .filter((line) => line.startsWith('dapr_component_pubsub_egress_count{'));
  t.true(counts.length < 2500);
  const total = counts.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  t.is(total, 3000);
});

test('batches and components are counted, also before the library is there', async (t) => {
  const metrics = new Metrics('app', 'ns');
  metrics.onComponent('pubsub', 'pubsub.redis');
  metrics.onComponent('other', 'pubsub.nothing', 'creation');
  metrics.onBatch({ pubsub: 'pubsub', topic: 'orders', ms: 1, answers: ['success', 'success', 'retry'] });
  await metrics.load();
  metrics.onBatch({ pubsub: 'pubsub', topic: 'orders', ms: 1, answers: ['drop'] });
  const lines = (await metrics.render()).split('\n');
  const batch = (status: string): string =>
    `{app_id="app",component="pubsub",namespace="ns",process_status="${status}",topic="orders"}`;
  for (const line of [
    `dapr_component_pubsub_ingress_bulk_count${batch('')} 2`,
    `dapr_component_pubsub_ingress_bulk_event_count${batch('SUCCESS')} 2`,
    `dapr_component_pubsub_ingress_bulk_event_count${batch('RETRY')} 1`,
    `dapr_component_pubsub_ingress_bulk_event_count${batch('DROP')} 1`,
    'dapr_runtime_component_loaded{app_id="app"} 1',
    'dapr_runtime_component_init_total{app_id="app",component="pubsub.redis"} 1',
    'dapr_runtime_component_init_fail_total{app_id="app",component="pubsub.nothing",reason="creation",componentName="other"} 1',
  ]) {
    t.true(lines.includes(line), line);
  }
});
