/** The app beside the sidecar: waited for, asked what it wants, probed, and served through a channel of its protocol. */

import type { ClientHttp2Stream } from 'node:http2';
import { accepts, waitForPort } from './channels/discovery.ts';
import type { DaprdOptions } from './config/flags.ts';
import { AppHealth } from './core/app-health.ts';
import { messageOf } from './core/errors.ts';
import { invokeFailed, type Invocation, type Invoked, type RelayedCall } from './core/invocation.ts';
import type { AppChannel } from './core/recipient.ts';
import type { Retry } from './core/retry-policy.ts';
import { checkRules } from './core/routing.ts';
import { mergeSpecs, type SubscriptionSpec } from './core/subscription.ts';
import type { Subscriptions } from './core/subscriptions.ts';
import type { Traffic } from './core/traffic.ts';
import { deadlineAfter } from './lib/deadline.ts';
import type { Log } from './lib/log.ts';
import type { Reporter } from './lib/report.ts';
import type { Description } from './rpc/metadata.ts';

export interface AppContext {
  readonly options: DaprdOptions;
  readonly subscriptions: Subscriptions;
  /** Aborts when the sidecar stops. */
  readonly leaving: AbortSignal;
  /** Without any there is nothing the app could subscribe to, and it is not asked. */
  readonly hasPubSubs: () => boolean;
  /** Undefined where nobody counts. */
  readonly traffic: Traffic | undefined;
  /** How often and after which pauses an app that cannot be reached is asked again. */
  readonly initRetry: Retry;
  readonly reporter: Reporter;
  readonly log: Log;
}

/** How long a subscription that is not wanted any more may finish what it has in hand. */
const DRAIN_MS = 30_000;
/** What sidecars tell each other where no namespace is set. */
const DEFAULT_NAMESPACE = 'default';

export class App {
  private readonly context: AppContext;
  private channel: AppChannel | undefined;
  private health: AppHealth | undefined;
  private declared: readonly SubscriptionSpec[];
  private programmatic: readonly SubscriptionSpec[] = [];
  /** Whether it was asked what it subscribes to, and could say. */
  private asked: 'not yet' | 'in vain' | 'well' = 'not yet';
  private isServed = false;
  private applying: Promise<void> = Promise.resolve();

  /** `declared`: the subscriptions that files ask for. */
  constructor(declared: readonly SubscriptionSpec[], context: AppContext) {
    this.declared = declared;
    this.context = context;
  }

  /** What the app is subscribed to, or will be once it is there. */
  get specs(): readonly SubscriptionSpec[] {
    return mergeSpecs(this.declared, this.programmatic);
  }

  /**
   * Resolves when the app is there and its subscriptions are live; at once where there is no app. With health checks
   * it resolves when the app is there: its subscriptions follow its health.
   */
  async start(): Promise<void> {
    const { options, log, leaving, reporter } = this.context;
    if (options.appPort === 0) {
      log.warn('App channel is not initialized. Did you configure an app-port?');
      return;
    }
    if (!(await this.discover())) return;
    reporter.send({ type: 'app', port: options.appPort });
    const channel = await openChannel(this.context);
    this.channel = channel;
    if (!options.appHealth.enabled) return this.serve();
    const onChange = (healthy: boolean): void => void (healthy ? this.recover() : this.suspend());
    const healthLog = log.scoped('dapr.apphealth');
    this.health = new AppHealth((signal) => channel.probe(signal), options.appHealth, onChange, healthLog);
    void this.health.watch(leaving);
  }

  /** Files ask for other subscriptions now. Resolves when those run that can. */
  declare(declared: readonly SubscriptionSpec[]): Promise<void> {
    this.declared = declared;
    return this.isServed ? this.serve() : Promise.resolve();
  }

  /** Takes no events any more. Resolves when what is in hand is settled, or given back when that takes too long. */
  suspend(): Promise<void> {
    this.isServed = false;
    return this.apply();
  }

  /** Resolves when the app is unhealthy, where anybody looks; else when `signal` aborts. */
  async unhealthy(signal: AbortSignal): Promise<void> {
    if (this.health) return this.health.unhealthy(signal);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  }

  /** Calls the app. Rejects with a SidecarError, also where another app is meant: there is no way to it from here. */
  async invoke(call: Invocation, signal: AbortSignal): Promise<Invoked> {
    return this.reach(call.id).invoke({ ...call, headers: this.attested(call.headers) }, signal);
  }

  /** Begins a call of a service of the app's own. Throws a SidecarError, as `invoke` rejects. */
  relay(call: RelayedCall, signal: AbortSignal): ClientHttp2Stream {
    const channel = this.reach(call.id);
    const { appProtocol } = this.context.options;
    if (!channel.relay) throw invokeFailed(call.id, `an app over ${appProtocol} has no services of gRPC`);
    return channel.relay({ ...call, headers: this.attested(call.headers) }, signal);
  }

  private reach(id: string): AppChannel {
    const { appId } = this.context.options;
    if (id !== appId) {
      throw invokeFailed(id, `other apps are not reachable through this sidecar, only its own: ${appId}`);
    }
    if (!this.channel) throw invokeFailed(appId, 'app channel is not initialized');
    if (this.health && !this.health.isHealthy) throw invokeFailed(appId, 'app is not in a healthy state');
    return this.channel;
  }

  /** Who calls whom is said by us and by no caller. */
  private attested(headers: readonly string[]): string[] {
    const { appId, environment } = this.context.options;
    const said = {
      'dapr-caller-app-id': appId,
      'dapr-caller-namespace': environment.namespace || DEFAULT_NAMESPACE,
      'dapr-callee-app-id': appId,
    };
    const others = headers.filter((_, i) => !Object.hasOwn(said, headers[i - (i % 2)] as string));
    return [...others, ...Object.entries(said).flat()];
  }

  async close(): Promise<void> {
    await this.channel?.close();
  }

  /** Serves an app that is well again. One that could not say what it subscribes to may know by now. */
  private recover(): Promise<void> {
    if (this.asked === 'in vain') this.asked = 'not yet';
    return this.serve();
  }

  private async serve(): Promise<void> {
    this.isServed = true;
    if (this.asked === 'not yet' && this.context.hasPubSubs()) {
      this.asked = 'well';
      const specs = await this.ask(this.channel as AppChannel);
      if (!specs) this.asked = 'in vain';
      this.programmatic = specs ?? [];
    }
    await this.apply();
    this.context.reporter.send({
      type: 'subscribed',
      subscriptions: this.specs.map(({ pubsubName, topic, rules }) => ({
        pubsub: pubsubName,
        topic,
        routes: rules.map(({ path }) => path),
      })),
    });
  }

  /** Makes the running subscriptions what they should be when it comes to it: one change after the other. */
  private apply(): Promise<void> {
    const { subscriptions, leaving, log } = this.context;
    const change = async (): Promise<void> => {
      if (!this.channel || leaving.aborted) return;
      const deadline = deadlineAfter(DRAIN_MS);
      await subscriptions.reconcile(this.isServed ? this.specs : [], this.channel, deadline.signal);
      deadline.cancel();
    };
    this.applying = this.applying.then(change).catch((error: unknown) => log.error(messageOf(error)));
    return this.applying;
  }

  /** False when the sidecar stops before the app listens. */
  private async discover(): Promise<boolean> {
    const { options, log, leaving } = this.context;
    const { appPort: port, appChannelAddress: address, appProtocol: protocol } = options;
    const waiting = `waiting on port ${port}.  This will block until the app is listening on that port.`;
    log.info(`application protocol: ${protocol}. ${waiting}`);
    const stillWaiting = (): void => log.info(`waiting for application to listen on port ${port}`);
    if (!(await waitForPort(address, port, leaving, stillWaiting))) return false;
    log.info(`application discovered on port ${port}`);
    return true;
  }

  /**
   * The app's own subscriptions. An app that went away before it answered is waited for; one that is there and cannot
   * say has none, so that those in files are served all the same; the result is undefined then.
   */
  private async ask(channel: AppChannel): Promise<readonly SubscriptionSpec[] | undefined> {
    const { options, log, leaving } = this.context;
    if (options.disableInitEndpoints.has('config')) {
      log.warn("Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)");
    } else {
      await channel.configure(leaving);
    }
    if (options.disableInitEndpoints.has('subscribe')) {
      log.warn("Skipping programmatic subscription loading (see 'disable-init-endpoints' flag/annotation)");
      return [];
    }
    for (;;) {
      try {
        const specs = await channel.subscriptions(leaving);
        await checkRules(specs);
        return specs;
      } catch (error) {
        log.warn(`failed to subscribe to topics: ${messageOf(error)}`);
        const isThere = await accepts(options.appChannelAddress, options.appPort);
        if (isThere || !(await this.discover())) return undefined;
      }
    }
  }
}

/** The client libraries load here: a sidecar that only publishes does without them. */
async function openChannel({ options, traffic, initRetry, log }: AppContext): Promise<AppChannel> {
  const { appProtocol: protocol } = options;
  const common = {
    address: options.appChannelAddress,
    port: options.appPort,
    tls: protocol === 'https' || protocol === 'grpcs',
    token: { header: options.environment.appApiTokenHeader, value: options.environment.appApiToken },
    maxConcurrency: options.appMaxConcurrency,
    maxBodyBytes: options.maxBodyBytes,
    traffic,
    initRetry,
    log,
  };
  if (protocol === 'grpc' || protocol === 'grpcs') {
    const { GrpcChannel } = await import('./channels/grpc.ts');
    return new GrpcChannel({
      ...common,
      unknownData: options.parity ? 'none' : 'bytes',
      idleMs: options.environment.grpcIdleMs,
    });
  }
  const { openHttpChannel } = await import('./channels/http.ts');
  return openHttpChannel({
    ...common,
    http2: protocol === 'h2c',
    appId: options.appId,
    healthPath: options.appHealth.path,
  });
}

/** What the metadata API tells of the app. How it is probed is undefined where it is not; gRPC has a method for it and no path. */
export function describeApp(options: DaprdOptions): Pick<Description, 'app' | 'appHealth'> {
  const { appHealth, appProtocol: protocol } = options;
  const path = protocol.startsWith('grpc') ? '' : appHealth.path;
  return {
    app: {
      port: options.appPort,
      protocol,
      address: options.appChannelAddress,
      maxConcurrency: options.appMaxConcurrency,
    },
    appHealth: appHealth.enabled ? { ...appHealth, path } : undefined,
  };
}
