/**
 * Prometheus series under Dapr's names (contract 12.1). The library is loaded when the sidecar is up, so that starting
 * does not wait for it; what happened before is counted then.
 */

import type { RequestListener } from 'node:http';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { OnPolicy, PolicyUse } from '../core/guard.ts';
import type { OnPublished } from '../core/publisher.ts';
import type { DeliveryContext } from '../core/delivery.ts';

type OnProcessed = DeliveryContext['onProcessed'];
type Labels = Readonly<Record<string, string>>;

const LATENCY_BUCKETS_MS = [
  1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800, 1000,
  2000, 5000, 10000, 20000, 50000, 100000,
];
/** How much is remembered until the library is there; more means that it cannot be loaded. */
const MAX_EARLY = 100_000;
/** Topics are what clients make them: the series of more than these are summed up under one name. */
const MAX_CHILDREN = 2000;
const OTHER_TOPICS = '_other';
const EGRESS = ['app_id', 'component', 'namespace', 'success', 'topic'];
const INGRESS = ['app_id', 'component', 'namespace', 'process_status', 'status', 'topic'];

const POLICY = ['app_id', 'name', 'policy', 'namespace', 'flow_direction', 'target', 'status'];
const BREAKER_STATES = ['closed', 'half-open', 'open'];

interface Series {
  readonly registry: Registry;
  readonly egress: [Counter, Histogram];
  readonly bulkEgress: [Counter, Histogram];
  readonly ingress: [Counter, Histogram];
  readonly policies: { readonly applied: Counter; readonly activated: Counter; readonly state: Gauge };
}

export class Metrics {
  private readonly appId: string;
  private readonly namespace: string;
  private series: Series | undefined;
  private loading: Promise<void> | undefined;
  private early: (() => void)[] = [];
  private readonly children = new Map<string, (ms: number) => void>();

  constructor(appId: string, namespace: string) {
    this.appId = appId;
    this.namespace = namespace;
  }

  /** Loads the library, once. */
  load(): Promise<void> {
    return (this.loading ??= this.createSeries());
  }

  private async createSeries(): Promise<void> {
    const { Counter, Gauge, Histogram, Registry } = await import('prom-client');
    const registry = new Registry();
    const pair = (name: string, what: string, labelNames: string[]): [Counter, Histogram] => [
      new Counter({ name: `${name}_count`, help: `Number of ${what}.`, labelNames, registers: [registry] }),
      new Histogram({
        name: `${name}_latencies`,
        help: `Latency of ${what}, milliseconds.`,
        labelNames,
        buckets: LATENCY_BUCKETS_MS,
        registers: [registry],
      }),
    ];
    this.series = {
      registry,
      egress: pair('dapr_component_pubsub_egress', 'publishes to a broker', EGRESS),
      bulkEgress: pair('dapr_component_pubsub_egress_bulk', 'bulk publishes to a broker', EGRESS),
      ingress: pair('dapr_component_pubsub_ingress', 'deliveries to the app', INGRESS),
      policies: {
        applied: new Counter({
          name: 'dapr_resiliency_count',
          help: 'Number of operations that ran under a policy.',
          labelNames: POLICY,
          registers: [registry],
        }),
        activated: new Counter({
          name: 'dapr_resiliency_activations_total',
          help: 'Number of retries, timeouts and changes of a circuit breaker.',
          labelNames: POLICY,
          registers: [registry],
        }),
        state: new Gauge({
          name: 'dapr_resiliency_cb_state',
          help: 'Whether a circuit breaker is in this state.',
          labelNames: POLICY,
          registers: [registry],
        }),
      },
    };
    for (const replay of this.early) replay();
    this.early = [];
  }

  readonly onPublished: OnPublished = (component, topic, ms, failed, isBulk) => {
    const success = String(failed === 0);
    const key = `${isBulk ? '>>' : '>'}${component}\0${topic}\0${success}`;
    this.record(key, ms, isBulk ? 'bulkEgress' : 'egress', () => ({ component, success, topic }));
  };

  readonly onProcessed: OnProcessed = (component, topic, process_status, status, ms) => {
    const key = `<${component}\0${topic}\0${process_status}\0${status}`;
    this.record(key, ms, 'ingress', () => ({ component, process_status, status, topic }));
  };

  readonly onPolicy: OnPolicy = (event, use) => {
    if (!this.series) {
      if (this.early.length < MAX_EARLY) this.early.push(() => this.onPolicy(event, use));
      return;
    }
    const labels = this.policyLabels(use);
    const { policies } = this.series;
    policies[event].inc(labels);
    if (use.status === '') return;
    for (const status of BREAKER_STATES) policies.state.set({ ...labels, status }, status === use.status ? 1 : 0);
  };

  private policyLabels({ resource, kind, direction, component, status }: PolicyUse): Record<string, string> {
    const { appId: app_id, namespace } = this;
    return {
      app_id,
      name: resource,
      policy: kind,
      namespace,
      flow_direction: direction,
      target: `Pubsub_${component}`,
      status,
    };
  }

  /** The text of a scrape. */
  async render(): Promise<string> {
    await this.load();
    return (this.series as Series).registry.metrics();
  }

  private record(key: string, ms: number, direction: 'egress' | 'bulkEgress' | 'ingress', labels: () => Labels): void {
    const known = this.children.get(key);
    if (known) return known(ms);
    if (!this.series) {
      if (this.early.length < MAX_EARLY) this.early.push(() => this.record(key, ms, direction, labels));
      return;
    }
    const [counter, histogram] = this.series[direction];
    const { component, ...rest } = labels();
    const isOther = this.children.size >= MAX_CHILDREN;
    const all = {
      app_id: this.appId,
      component: component as string,
      namespace: this.namespace,
      ...rest,
      ...(isOther && { topic: OTHER_TOPICS }),
    };
    const count = counter.labels(all);
    const latency = histogram.labels(all);
    const child = (took: number): void => {
      count.inc();
      if (took > 0) latency.observe(took);
    };
    if (!isOther) this.children.set(key, child);
    child(ms);
  }
}

/** Answers every path with the series. */
export function metricsHandler(metrics: Metrics): RequestListener {
  return (_request, response) => {
    metrics.render().then(
      (text) => response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(text),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  };
}
