/**
 * The composition root: the only file that knows every layer. `start` builds from the broker outwards, `stop` takes
 * down in reverse: no new messages first, then what is in hand, then the servers, the brokers last.
 */

import { flushCompileCache } from 'node:module';
import { announce } from './announce.ts';
import { App, describeApp } from './app.ts';
import { findBroker } from './brokers/index.ts';
import { DEFAULT_CONFIGURATION, loadConfiguration, type Configuration } from './config/configuration.ts';
import type { DaprdOptions } from './config/flags.ts';
import { openComponents, tellOfAssumed, type Components } from './config/open-components.ts';
import type { Resources } from './config/resources.ts';
import { CustomMetadata } from './core/custom-metadata.ts';
import { messageOf } from './core/errors.ts';
import { Parked } from './core/parked.ts';
import { Publisher } from './core/publisher.ts';
import { Resiliency } from './core/resiliency.ts';
import { checkRules } from './core/routing.ts';
import { standingsOf } from './core/standings.ts';
import type { SubscriptionSpec } from './core/subscription.ts';
import { Subscriptions, type CreateHandler } from './core/subscriptions.ts';
import { createHandlers } from './deliveries.ts';
import { afterAbort, deadlineAfter } from './lib/deadline.ts';
import { formatGoDuration } from './lib/duration.ts';
import type { ProcessLog } from './lib/log.ts';
import { endGroup } from './lib/process-table.ts';
import { Readiness } from './lib/readiness.ts';
import type { Registration } from './lib/registry.ts';
import type { Reporter } from './lib/report.ts';
import { LoadedResources } from './loaded-resources.ts';
import { openMetrics, type Metrics } from './observe/metrics.ts';
import { openTracing, type Tracing } from './observe/tracing.ts';
import { reloadOnChange, type Reloaded } from './reload.ts';
import { createDapr } from './rpc/dapr.ts';
import { metadataOf } from './rpc/metadata.ts';
import { Streams } from './rpc/subscribe.ts';
import { startServers, type Servers } from './servers.ts';

/** How a stop was asked for. Only a signal waits for the block period. */
export type StopCause = 'signal' | 'api' | 'reload' | 'cli-gone';

export interface SidecarDeps {
  readonly options: DaprdOptions;
  readonly version: string;
  readonly log: ProcessLog;
  readonly reporter: Reporter;
  /** Ends the process at once. */
  readonly exit: (code: number) => void;
}

/** Dapr exits this long after a forced shutdown, so that the answer gets out. */
const FORCED_EXIT_MS = 100;
/** Loading what traces need keeps the event loop busy for a moment: not while the first requests come. */
const LIBRARIES_DELAY_MS = 500;
/** What a component may still take to close once the grace period is over. */
const FORCED_CLOSE_MS = 1000;
/** How long the app may take to end when the command that started both is gone. */
const APP_GRACE_MS = 5000;

export class Sidecar {
  /** Resolves with the process's exit code when everything is down. */
  readonly ended: Promise<number>;
  private readonly deps: SidecarDeps;
  private metrics!: Metrics;
  private resiliency!: Resiliency;
  private readonly readiness = new Readiness(['runtime', 'grpc-api-server']);
  private readonly leaving = new AbortController();
  private readonly custom = new CustomMetadata();
  private configuration: Configuration = DEFAULT_CONFIGURATION;
  private resources!: LoadedResources;
  private components: Components | undefined;
  private subscriptions: Subscriptions | undefined;
  private streams: Streams | undefined;
  /** Undefined where no span goes anywhere. */
  private tracing: Tracing | undefined;
  private draining: Promise<void> | undefined;
  private readonly drainDeadline = new AbortController();
  private readonly stopping = new AbortController();
  private starting: Promise<void> = Promise.resolve();
  private servers: Servers | undefined;
  private app: App | undefined;
  private registration: Registration | undefined;
  private appGroup = 0;
  private end: (code: number) => void = () => undefined;

  constructor(deps: SidecarDeps) {
    this.deps = deps;
    this.ended = new Promise((resolve) => {
      this.end = resolve;
    });
  }

  /** From the call of `stop` on, also before a start has come to its end. */
  get isStopping(): boolean {
    return this.stopping.signal.aborted;
  }

  /** Resolves when publishing works; the app is waited for in the background. Rejects when the sidecar cannot run. */
  start(): Promise<void> {
    return (this.starting = this.build());
  }

  private async build(): Promise<void> {
    const { options, log, reporter } = this.deps;
    const started = performance.now();
    await this.configure();
    const { components, resources } = await this.openComponents();
    const { pubSubs } = components;
    const publisher = new Publisher(pubSubs, options.appId, this.resiliency, this.metrics.onPublished);
    const subscriptionLog = log.scoped('dapr.runtime.processor.subscription');
    const parked = new Parked(pubSubs);
    const subscriptions = new Subscriptions(pubSubs, this.createHandler(publisher, parked), subscriptionLog);
    this.subscriptions = subscriptions;
    this.streams = new Streams({
      publisher,
      subscriptions,
      unknownData: options.parity ? 'none' : 'bytes',
      maxMessageBytes: options.maxBodyBytes,
      log: log.scoped('dapr.runtime.pubsub.streamer'),
    });
    const app = (this.app = new App(resources.subscriptions, {
      options,
      subscriptions,
      leaving: this.leaving.signal,
      hasPubSubs: () => pubSubs.size > 0,
      traffic: this.counting?.traffic,
      initRetry: this.resiliency.initRetry,
      reporter,
      log,
    }));
    const running = { components, app, subscriptions, streams: this.streams };
    this.servers = await this.listen(publisher, parked, running);
    this.readiness.reached('grpc-api-server');
    setTimeout(() => void this.tracing?.load(), LIBRARIES_DELAY_MS).unref();
    this.registration = announce(options, this.servers, this.deps.version, log);
    const { httpPort, grpcPort, metricsPort } = this.servers;
    reporter.send({ type: 'api', httpPort, grpcPort, metricsPort });
    reporter.onAppProcess(({ pid, command }) => {
      this.appGroup = pid;
      this.registration?.update({ appPid: pid, command });
    });
    reporter.onDisconnect(() => void this.stop('cli-gone'));
    this.watchResources(resources, running);
    app
      .start()
      .then(() => this.becomeReady(started))
      .catch((error: unknown) => log.error(`failed to subscribe to topics: ${messageOf(error)}`));
  }

  private listen(publisher: Publisher, parked: Parked, running: Reloaded): Promise<Servers> {
    const { components, app, subscriptions, streams } = running;
    return startServers({
      options: this.deps.options,
      app,
      streams,
      configuration: this.configuration,
      publisher,
      parked,
      api: createDapr(publisher, {
        metadata: () => this.describe(),
        setMetadata: (key, value) => this.custom.set(key, value),
        invoke: (call, signal) => app.invoke(call, signal),
        shutdown: (force) => this.shutDown(force),
      }),
      readiness: this.readiness,
      outboundReady: () => this.servers !== undefined,
      standings: standingsOf({ pubSubs: components.pubSubs, subscriptions, wanted: () => this.specs }),
      metrics: this.counting,
      tracer: this.tracing,
      log: this.deps.log,
    });
  }

  /** Undefined where nobody is shown what was counted. */
  private get counting(): Metrics | undefined {
    return this.deps.options.metrics.enabled && this.configuration.metrics.enabled ? this.metrics : undefined;
  }

  private async configure(): Promise<void> {
    const { options, log } = this.deps;
    const { appId, environment, configFiles } = options;
    const runtimeLog = log.scoped('dapr.runtime');
    this.configuration = await loadConfiguration(configFiles, environment, log);
    const { tracing, metrics } = this.configuration;
    this.tracing = openTracing(tracing, appId, runtimeLog);
    this.metrics = await openMetrics({ appId, namespace: environment.namespace }, metrics, runtimeLog);
    this.resiliency = new Resiliency({ onPolicy: this.metrics.onPolicy, log: runtimeLog });
    const { resiliency } = this;
    this.resources = new LoadedResources({ options, resiliency, metrics: this.metrics, log });
  }

  /** Stops once; later calls change nothing. `ended` resolves when it is done. */
  async stop(cause: StopCause): Promise<void> {
    if (this.isStopping) return;
    this.stopping.abort();
    const { options, log } = this.deps;
    await this.starting.catch(() => undefined); // what is still being opened could not be closed; it is given up soon
    if (cause === 'signal' && options.blockShutdownMs !== undefined) await this.block(options.blockShutdownMs);
    this.leaving.abort();
    log.info('Dapr is shutting down');
    const deadline = deadlineAfter(options.gracefulShutdownMs);
    await Promise.race([this.close(deadline.signal), afterAbort(deadline.signal, FORCED_CLOSE_MS)]);
    if (cause === 'cli-gone' && this.appGroup > 0) await endGroup(this.appGroup, APP_GRACE_MS);
    deadline.cancel();
    const late = deadline.signal.aborted;
    if (late) log.fatal('Graceful shutdown timeout exceeded, forcing shutdown');
    else log.info('Daprd shutdown gracefully');
    this.end(late ? 1 : 0);
  }

  /** Takes down whatever is up, the newest first. */
  async close(deadline: AbortSignal): Promise<void> {
    if (deadline.aborted) this.drainDeadline.abort();
    else deadline.addEventListener('abort', () => this.drainDeadline.abort(), { once: true });
    await this.drain();
    this.readiness.lost('grpc-api-server');
    await this.servers?.close(deadline);
    await this.app?.close();
    await this.components?.close();
    await this.tracing?.close(deadline);
    this.registration?.remove();
  }

  /** Takes no events any more but serves the API, so that the app can still publish what it is finishing. */
  private async block(ms: number): Promise<void> {
    const { log } = this.deps;
    log.info(`Blocking graceful shutdown for ${formatGoDuration(ms)} or until app reports unhealthy...`);
    const period = deadlineAfter(ms);
    void this.drain();
    await this.app?.unhealthy(period.signal);
    period.cancel();
    if (period.signal.aborted) log.info('Block shutdown period expired, entering shutdown...');
    else log.info('App reported unhealthy, entering shutdown...');
  }

  /** Takes no messages any more and settles what is in hand, until `drainDeadline` aborts. */
  private drain(): Promise<void> {
    return (this.draining ??= this.subscriptions?.close(this.drainDeadline.signal) ?? Promise.resolve());
  }

  private shutDown(force: boolean): void {
    const { log, exit } = this.deps;
    if (force) {
      log.info('Force shutdown requested, exiting immediately without graceful shutdown');
      setTimeout(() => exit(1), FORCED_EXIT_MS);
    } else {
      log.info('Shutdown requested via API');
      setImmediate(() => void this.stop('api'));
    }
  }

  private async openComponents(): Promise<{ components: Components; resources: Resources }> {
    const { options, log, reporter } = this.deps;
    const { appId, environment, resourcesPaths } = options;
    log.info('Loading components…');
    const resources = await this.resources.load();
    await this.resources.adopt(resources);
    if (this.resources.assumes) log.info(tellOfAssumed(resourcesPaths, environment.home));
    const components = await openComponents(resources.components, {
      ...{ findBroker, appId, environment, log },
      denied: this.configuration.deniedComponents,
      onComponent: this.metrics.onComponent,
      signal: this.stopping.signal,
    });
    this.components = components;
    log.info('All outstanding components processed');
    log.info('Loading Declarative Subscriptions…');
    for (const { name } of resources.subscriptions) log.info(`Found Subscription: ${name}`);
    await checkRules(resources.subscriptions).catch((error: unknown) => {
      throw new Error(`failed to load declarative subscriptions: ${messageOf(error)}`, { cause: error });
    });
    const loaded = components.loaded.map(({ name, type }) => ({ name, type }));
    reporter.send({ type: 'components', loaded, skipped: resources.skipped.length });
    return { components, resources };
  }

  private watchResources(resources: Resources, running: Reloaded): void {
    const { options, log } = this.deps;
    const { resourcesPaths: directories, hotReloadIntervalMs: intervalMs } = options;
    if ((directories.length === 0 && !this.resources.assumes) || this.configuration.features.get('HotReload') === false)
      return;
    reloadOnChange(
      resources,
      { ...running, files: this.resources, log },
      { directories, intervalMs, signal: this.leaving.signal },
    );
  }

  private createHandler(publisher: Publisher, parked: Parked): CreateHandler {
    const { resiliency, metrics, tracing: tracer } = this;
    const { options } = this.deps;
    const log = this.deps.log.scoped('dapr.runtime.processor.pubsub.subscription.http');
    return createHandlers({ options, publisher, parked, resiliency, metrics, tracer, log });
  }

  private becomeReady(started: number): void {
    if (this.leaving.signal.aborted) return;
    this.readiness.reached('runtime');
    this.deps.log.info(`dapr initialized. Status: Running. Init Elapsed ${Math.round(performance.now() - started)}ms`);
    this.deps.reporter.send({ type: 'ready' });
    flushCompileCache(); // else it is written at a clean exit only
  }

  /** What the app and streams subscribe to, or will once it can be opened. */
  private get specs(): readonly SubscriptionSpec[] {
    return [...(this.app?.specs ?? []), ...(this.streams?.specs ?? [])];
  }

  private describe() {
    const { options, version } = this.deps;
    return metadataOf({
      appId: options.appId,
      version,
      enabledFeatures: [...this.configuration.features].filter(([, enabled]) => enabled).map(([name]) => name),
      components: this.components?.loaded ?? [],
      subscriptions: this.specs,
      ...this.resources.names,
      extended: this.custom.entries,
      ...describeApp(options),
    });
  }
}
