import type { DaprdOptions } from './config/flags.ts';
import { ASSUMED_COMPONENT } from './config/open-components.ts';
import { readResiliency } from './config/resiliency.ts';
import { loadResources, type Resources } from './config/resources.ts';
import type { Resiliency } from './core/resiliency.ts';
import type { Log } from './lib/log.ts';
import type { Metrics } from './observe/metrics.ts';

export interface LoadedResourcesContext {
  readonly options: DaprdOptions;
  readonly resiliency: Resiliency;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** What the resource files say, and the policies among it. Components and subscriptions are for others to open. */
export class LoadedResources {
  private readonly context: LoadedResourcesContext;
  private current: Resources | undefined;
  private assumesComponent: boolean;

  constructor(context: LoadedResourcesContext) {
    this.context = context;
    this.assumesComponent = !context.options.parity;
  }

  /** Whether a component is assumed: until a file names one, as events must go nowhere else while that file is away; never with --parity. */
  get assumes(): boolean {
    return this.assumesComponent;
  }

  /** Names of the policies and of the endpoints that are loaded. */
  get names(): { resiliencies: readonly string[]; httpEndpoints: readonly string[] } {
    const { resiliencies = [], httpEndpoints = [] } = this.current ?? {};
    return { resiliencies: resiliencies.map(({ name }) => name), httpEndpoints: httpEndpoints.map(({ name }) => name) };
  }

  /** Reads the files. Nothing is changed by it. */
  async load(): Promise<Resources> {
    const { options, log } = this.context;
    const { appId, environment, resourcesPaths } = options;
    const loaded = await loadResources(resourcesPaths, { appId, namespace: environment.namespace, log });
    this.assumesComponent &&= !loaded.namesComponents;
    return this.assumesComponent ? { ...loaded, components: [ASSUMED_COMPONENT] } : loaded;
  }

  /** Takes over what is neither component nor subscription. Policies only when they changed: their breakers start closed. */
  async adopt(loaded: Resources): Promise<void> {
    const changed = JSON.stringify(loaded.resiliencies) !== JSON.stringify(this.current?.resiliencies);
    this.current = loaded;
    if (!changed) return;
    const { resiliency, metrics, log } = this.context;
    const policies = await readResiliency(loaded.resiliencies, log.scoped('dapr.runtime'));
    policies.loaded.forEach(metrics.onPolicies);
    resiliency.use(policies);
  }
}
