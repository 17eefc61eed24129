/**
 * Prometheus series under Dapr's names (contract 12.1). The library is loaded when the sidecar is up, so that starting
 * does not wait for it; what happened before is counted then.
 */

import type { RequestListener } from 'node:http';
import type { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { OnPolicy, PolicyUse } from '../core/guard.ts';
import type { Measures } from '../core/measured.ts';
import type { OnPublished } from '../core/publisher.ts';
import type { DeliveryContext } from '../core/delivery.ts';
import type { RequestSeries } from './request-series.ts';

type OnProcessed = DeliveryContext['onProcessed'];
type Labels = Readonly<Record<string, string>>;

export const LATENCY_BUCKETS_MS: readonly number[] = [
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

const BATCH = ['app_id', 'component', 'namespace', 'process_status', 'topic'];
const OPENED = ['app_id', 'component'];
const FAILED = ['app_id', 'component', 'reason', 'componentName'];
const POLICY = ['app_id', 'name', 'policy', 'namespace', 'flow_direction', 'target', 'status'];
const BREAKER_STATES = ['closed', 'half-open', 'open'];

interface Series {
  readonly registry: Registry;
  readonly egress: [Counter, Histogram];
  readonly egressBulk: [Counter, Histogram];
  readonly ingress: [Counter, Histogram];
  readonly ingressBulk: [Counter, Histogram];
  readonly bulkEvents: Counter;
  readonly components: { readonly loaded: Counter; readonly opened: Counter; readonly failed: Counter };
  readonly policies: { readonly applied: Counter; readonly activated: Counter; readonly state: Gauge };
}

export class Metrics {
  /** To be set before the library is loaded. */
  latencyBuckets = LATENCY_BUCKETS_MS;
  private readonly appId: string;
  private readonly namespace: string;
  private series: Series | undefined;
  private loading: Promise<void> | undefined;
  private early: (() => void)[] = [];
  private readonly children = new Map<string, (ms: number) => void>();
  /** How many events recipients have in hand, by component and topic. */
  private readonly inHand = new Map<string, number>();

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
    const counter = (name: string, help: string, labelNames: string[]): Counter =>
      new Counter({ name, help, labelNames, registers: [registry] });
    const pair = (name: string, what: string, labelNames: string[]): [Counter, Histogram] => [
      counter(`${name}_count`, `Number of ${what}.`, labelNames),
      new Histogram({
        name: `${name}_latencies`,
        help: `Latency of ${what}, milliseconds.`,
        labelNames,
        buckets: [...this.latencyBuckets],
        registers: [registry],
      }),
    ];
    const { appId: app_id, namespace, inHand } = this;
    const inFlight = new Gauge({
      name: 'dapr_component_pubsub_ingress_in_flight',
      help: 'Number of events that recipients have in hand.',
      labelNames: ['app_id', 'component', 'namespace', 'topic'],
      registers: [registry],
      collect: () => {
        for (const [key, count] of inHand) {
          const [component = '', topic = ''] = key.split('\0');
          inFlight.set({ app_id, component, namespace, topic }, count);
        }
      },
    });
    this.series = {
      registry,
      egress: pair('dapr_component_pubsub_egress', 'publishes to a broker', EGRESS),
      egressBulk: pair('dapr_component_pubsub_egress_bulk', 'bulk publishes to a broker', EGRESS),
      ingress: pair('dapr_component_pubsub_ingress', 'deliveries to the app', INGRESS),
      ingressBulk: pair('dapr_component_pubsub_ingress_bulk', 'batches delivered to the app', BATCH),
      bulkEvents: counter('dapr_component_pubsub_ingress_bulk_event_count', 'Number of events in batches.', BATCH),
      components: {
        loaded: counter('dapr_runtime_component_loaded', 'Number of components that were loaded.', ['app_id']),
        opened: counter('dapr_runtime_component_init_total', 'Number of components that were opened.', OPENED),
        failed: counter('dapr_runtime_component_init_fail_total', 'Number of components that were not.', FAILED),
      },
      policies: {
        applied: counter('dapr_resiliency_count', 'Number of operations that ran under a policy.', POLICY),
        activated: counter(
          'dapr_resiliency_activations_total',
          'Number of retries, timeouts and changes of a circuit breaker.',
          POLICY,
        ),
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

  readonly onPublished: OnPublished = ({ pubsub: component, topic, ms, failed, isBulk }) => {
    const success = String(failed === 0);
    const key = `${isBulk ? '>>' : '>'}${component}\0${topic}\0${success}`;
    this.record(key, ms, isBulk ? 'egressBulk' : 'egress', () => ({ component, success, topic }));
  };

  readonly onProcessed: OnProcessed = (component, topic, process_status, status, ms) => {
    const key = `<${component}\0${topic}\0${process_status}\0${status}`;
    this.record(key, ms, 'ingress', () => ({ component, process_status, status, topic }));
  };

  readonly onBatch: Measures['onBatch'] = ({ pubsub: component, topic, ms, answers }) => {
    this.record(`<<${component}\0${topic}`, ms, 'ingressBulk', () => ({ component, process_status: '', topic }));
    for (const answer of new Set(answers)) {
      const count = answers.filter((one) => one === answer).length;
      this.later(({ bulkEvents }) => {
        const { appId: app_id, namespace } = this;
        bulkEvents.inc({ app_id, component, namespace, process_status: answer.toUpperCase(), topic }, count);
      });
    }
  };

  readonly onInHand: Measures['onInHand'] = (component, topic, change) => {
    const key = `${component}\0${topic}`;
    const before = this.inHand.get(key);
    const hasRoom = before !== undefined || this.inHand.size < MAX_CHILDREN || topic === OTHER_TOPICS;
    if (hasRoom) this.inHand.set(key, (before ?? 0) + change);
    else this.onInHand(component, OTHER_TOPICS, change);
  };

  /** A component was opened, or not: it could not be made (`creation`), or did not start (`init`). */
  readonly onComponent = (name: string, type: string, fault?: 'creation' | 'init'): void => {
    const { appId: app_id } = this;
    this.later(({ components: { loaded, opened, failed } }) => {
      if (fault !== undefined) return failed.inc({ app_id, component: type, reason: fault, componentName: name });
      loaded.inc({ app_id });
      opened.inc({ app_id, component: type });
    });
  };

  readonly onPolicy: OnPolicy = (event, use) => {
    this.later(({ policies }) => {
      const labels = this.policyLabels(use);
      policies[event].inc(labels);
      if (use.status === '') return;
      for (const status of BREAKER_STATES) policies.state.set({ ...labels, status }, status === use.status ? 1 : 0);
    });
  };

  /** Now, or when the library is there. */
  private later(count: (series: Series) => void): void {
    if (this.series) count(this.series);
    else if (this.early.length < MAX_EARLY) this.early.push(() => count(this.series as Series));
  }

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

  private record(
    key: string,
    ms: number,
    direction: 'egress' | 'egressBulk' | 'ingress' | 'ingressBulk',
    labels: () => Labels,
  ): void {
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
export function metricsHandler(metrics: Metrics, requests: RequestSeries): RequestListener {
  const headers = { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' };
  return (_request, response) => {
    metrics.render().then(
      (text) => response.writeHead(200, headers).end(text + requests.render()),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  };
}
