/** Series of how the group stands: whether events are stuck, and where (docs/operations.md). None of them is Dapr's. */

import type { Standings } from '../core/standings.ts';
import type { Exposition, Labels, Metric, Tally } from './series.ts';

const COMPONENT = ['app_id', 'component', 'namespace'];
const TOPIC = [...COMPONENT, 'topic'];

/** Registers them. What it returns shows the standings and nothing of those before: what is not known has no series. */
export function showStandings(exposition: Exposition, common: Labels): (standings: Standings) => void {
  const gauge = (name: string, help: string, labels: readonly string[]): Metric<Tally> =>
    exposition.gauge(`dapr_component_pubsub_${name}`, help, labels);
  const up = gauge('up', 'Whether the broker could take a message at this scrape.', COMPONENT);
  const open = gauge('subscription_open', 'Whether a subscription to the topic runs.', TOPIC);
  const lag = gauge('group_lag', 'Number of messages that were never delivered to the group.', TOPIC);
  const pending = gauge('group_pending', 'Number of messages delivered and not settled, parked ones included.', TOPIC);
  const parked = gauge(
    'group_parked',
    'Number of messages that are kept and not delivered again by themselves.',
    TOPIC,
  );
  const oldest = gauge('group_oldest_unsettled_seconds', 'Age of the oldest message that is not settled.', TOPIC);

  return ({ components, topics }) => {
    for (const metric of [up, open, lag, pending, parked, oldest]) metric.clear();
    for (const { pubsub: component, isUp } of components) up.of({ ...common, component }).value = Number(isUp);
    for (const { pubsub: component, topic, isOpen, stats } of topics) {
      const labels = { ...common, component, topic };
      open.of(labels).value = Number(isOpen);
      if (!stats) continue;
      lag.of(labels).value = stats.lag;
      pending.of(labels).value = stats.pending;
      parked.of(labels).value = stats.parked;
      oldest.of(labels).value = stats.oldestUnsettledMs / 1000;
    }
  };
}
