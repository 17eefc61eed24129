/** What is counted, under Dapr's names (contract 12.1). */

import type { RequestListener } from 'node:http';
import type { DeliveryContext } from '../core/delivery.ts';
import type { SidecarError } from '../core/errors.ts';
import type { OnPolicy, PolicyUse } from '../core/guard.ts';
import type { Log } from '../lib/log.ts';
import type { Measures } from '../core/measured.ts';
import type { OnPublished } from '../core/publisher.ts';
import type { Standings } from '../core/standings.ts';
import type { Traffic } from '../core/traffic.ts';
import { relabelBy, type MetricRule } from './label-rules.ts';
import { showStandings } from './standing-series.ts';
import { Exposition, Memo, type Distribution, type Labels, type Metric, type Relabel, type Tally } from './series.ts';
import { countTraffic, type TrafficSettings } from './traffic-series.ts';

type OnProcessed = DeliveryContext['onProcessed'];

export interface MetricsSettings extends TrafficSettings {
  /** Upper bounds of the buckets of latencies, milliseconds; empty: Dapr's. */
  readonly latencyBuckets: readonly number[];
  readonly recordErrorCodes: boolean;
  readonly rules: readonly MetricRule[];
}

interface MetricsOptions extends MetricsSettings {
  readonly appId: string;
  readonly namespace: string;
  readonly relabel: Relabel;
}

const LATENCY_BUCKETS = [
  1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800, 1000,
  2000, 5000, 10000, 20000, 50000, 100000,
];
const EGRESS = ['app_id', 'component', 'namespace', 'success', 'topic'];
const INGRESS = ['app_id', 'component', 'namespace', 'process_status', 'status', 'topic'];
const BATCH = ['app_id', 'component', 'namespace', 'process_status', 'topic'];
const IN_HAND = ['app_id', 'component', 'namespace', 'topic'];
const POLICY = ['app_id', 'flow_direction', 'name', 'namespace', 'policy', 'status', 'target'];
const BREAKER_STATES = ['closed', 'half-open', 'open'];

export class Metrics {
  readonly traffic: Traffic;
  /** Takes the place of what was told before. */
  readonly onStandings: (standings: Standings) => void;
  private readonly options: MetricsOptions;
  private readonly exposition: Exposition;
  private readonly egress: Timed;
  private readonly egressBulk: Timed;
  private readonly ingress: Timed;
  private readonly ingressBulk: Timed;
  private readonly bulkEvents: Metric<Tally>;
  private readonly inHand: Metric<Tally>;
  private readonly inHandOf = new Memo<string, Tally>();
  private readonly bulkEventsOf = new Memo<string, Tally>();
  private readonly components: Readonly<Record<'loaded' | 'opened' | 'failed', Metric<Tally>>>;
  private readonly policies: Readonly<Record<'loaded' | 'applied' | 'activated' | 'state', Metric<Tally>>>;
  private readonly uses = { applied: new WeakMap<PolicyUse, Tally>(), activated: new WeakMap<PolicyUse, Tally>() };
  private readonly errors: Metric<Tally>;

  constructor(options: MetricsOptions) {
    const { appId, latencyBuckets, relabel } = options;
    const buckets = latencyBuckets.length > 0 ? latencyBuckets : LATENCY_BUCKETS;
    const exposition = (this.exposition = new Exposition(buckets, relabel));
    this.options = options;
    const timed = (name: string, what: string, labels: readonly string[]): Timed =>
      new Timed(exposition, `dapr_component_pubsub_${name}`, what, labels);
    this.egress = timed('egress', 'publishes to a broker', EGRESS);
    this.egressBulk = timed('egress_bulk', 'bulk publishes to a broker', EGRESS);
    this.ingress = timed('ingress', 'deliveries to the app', INGRESS);
    this.ingressBulk = timed('ingress_bulk', 'batches delivered to the app', BATCH);
    const count = (name: string, what: string, labels: readonly string[]): Metric<Tally> =>
      exposition.counter(`dapr_${name}`, `Number of ${what}.`, labels);
    this.bulkEvents = count('component_pubsub_ingress_bulk_event_count', 'events in batches', BATCH);
    this.inHand = exposition.gauge(
      'dapr_component_pubsub_ingress_in_flight',
      'Number of events that recipients have in hand.',
      IN_HAND,
    );
    this.components = {
      loaded: count('runtime_component_loaded', 'components that were loaded', ['app_id']),
      opened: count('runtime_component_init_total', 'components that were opened', ['app_id', 'component']),
      failed: count('runtime_component_init_fail_total', 'components that were not', [
        ...['app_id', 'component', 'componentName', 'reason'],
      ]),
    };
    this.policies = {
      loaded: count('resiliency_loaded', 'Resiliency resources that were loaded', ['app_id', 'name', 'namespace']),
      applied: count('resiliency_count', 'operations that ran under a policy', POLICY),
      activated: count('resiliency_activations_total', 'retries, timeouts and changes of a circuit breaker', POLICY),
      state: exposition.gauge('dapr_resiliency_cb_state', 'Whether a circuit breaker is in this state.', POLICY),
    };
    this.errors = count('error_code_total', 'errors of the API', ['app_id', 'category', 'error_code']);
    this.traffic = countTraffic(exposition, appId, options);
    this.onStandings = showStandings(exposition, { app_id: appId, namespace: options.namespace });
  }

  readonly onPublished: OnPublished = ({ pubsub: component, topic, ms, failed, isBulk }) => {
    const success = failed === 0 ? 'true' : 'false';
    const labels = (): Labels => this.labels({ component, success, topic });
    (isBulk ? this.egressBulk : this.egress).count(`${success} ${component} ${topic}`, ms, labels);
  };

  readonly onProcessed: OnProcessed = (component, topic, process_status, status, ms) => {
    const labels = (): Labels => this.labels({ component, process_status, status, topic });
    this.ingress.count(`${process_status} ${status} ${component} ${topic}`, ms, labels);
  };

  readonly onBatch: Measures['onBatch'] = ({ pubsub: component, topic, ms, answers }) => {
    this.ingressBulk.count(`${component} ${topic}`, ms, () => this.labels({ component, topic }));
    for (const answer of answers) {
      const labels = (): Labels => this.labels({ component, process_status: answer.toUpperCase(), topic });
      this.bulkEventsOf.get(`${answer} ${component} ${topic}`, () => this.bulkEvents.of(labels())).value++;
    }
  };

  readonly onInHand: Measures['onInHand'] = (component, topic, change) => {
    const tally = this.inHandOf.get(`${component} ${topic}`, () => this.inHand.of(this.labels({ component, topic })));
    tally.value += change;
  };

  /** A component was opened, or not: it could not be made (`creation`), or did not start (`init`). */
  readonly onComponent = (name: string, type: string, fault?: 'creation' | 'init'): void => {
    const { loaded, opened, failed } = this.components;
    const { appId: app_id } = this.options;
    if (fault !== undefined) {
      failed.of({ app_id, component: type, componentName: name, reason: fault }).value++;
      return;
    }
    loaded.of({ app_id }).value++;
    opened.of({ app_id, component: type }).value++;
  };

  /** A Resiliency resource was read. */
  readonly onPolicies = (name: string): void => {
    this.policies.loaded.of(this.labels({ name })).value++;
  };

  readonly onPolicy: OnPolicy = (event, use) => {
    let tally = this.uses[event].get(use);
    if (!tally) this.uses[event].set(use, (tally = this.policies[event].of(this.policyLabels(use))));
    tally.value++;
    if (use.status === '') return;
    for (const status of BREAKER_STATES) {
      this.policies.state.of({ ...this.policyLabels(use), status }).value = status === use.status ? 1 : 0;
    }
  };

  /** The API answered with an error. Undefined where errors are not counted. */
  get onError(): ((error: SidecarError) => void) | undefined {
    if (!this.options.recordErrorCodes) return undefined;
    return ({ row: { tag, category } }) => {
      if (category !== '') this.errors.of({ app_id: this.options.appId, category, error_code: tag }).value++;
    };
  }

  /** The text of a scrape. */
  text(): string {
    return this.exposition.text();
  }

  private labels(more: Labels): Labels {
    return { app_id: this.options.appId, namespace: this.options.namespace, ...more };
  }

  private policyLabels({ resource, kind, direction, component, status }: PolicyUse): Labels {
    return this.labels({
      name: resource,
      policy: kind,
      flow_direction: direction,
      target: `Pubsub_${component}`,
      status,
    });
  }
}

/** Series of this app, as the operator wants them. */
export async function openMetrics(
  app: Pick<MetricsOptions, 'appId' | 'namespace'>,
  settings: MetricsSettings,
  log: Log,
): Promise<Metrics> {
  return new Metrics({ ...app, ...settings, relabel: await relabelBy(settings.rules, log) });
}

/** A count and a latency of the same labels. */
class Timed {
  private readonly counted: Metric<Tally>;
  private readonly latency: Metric<Distribution>;
  private readonly memo = new Memo<string, { readonly counted: Tally; readonly latency: Distribution }>();

  constructor(exposition: Exposition, name: string, what: string, labels: readonly string[]) {
    this.counted = exposition.counter(`${name}_count`, `Number of ${what}.`, labels);
    this.latency = exposition.latency(`${name}_latencies`, `Latency of ${what}, milliseconds.`, labels);
  }

  /** `labels` are asked for when the key is new. What took no time was not tried. */
  count(key: string, ms: number, labels: () => Labels): void {
    const series = this.memo.get(key, () => {
      const all = labels();
      return { counted: this.counted.of(all), latency: this.latency.of(all) };
    });
    series.counted.value++;
    if (ms > 0) series.latency.observe(ms);
  }
}

/** Answers every path with the series, once `ask`, which never rejects, has told how things stand. */
export function metricsHandler(metrics: Metrics, ask: () => Promise<Standings>): RequestListener {
  return (_request, response) =>
    void ask().then((standings) => {
      metrics.onStandings(standings);
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(metrics.text());
    });
}
