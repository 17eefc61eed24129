/** Hot reload: makes what runs agree with the resource files again, without touching what did not change. */

import type { App } from './app.ts';
import { componentLabel, type ComponentSpec } from './config/component.ts';
import { storesFirst, type Components } from './config/open-components.ts';
import type { Resources } from './config/resources.ts';
import { isSecretStore } from './config/secrets.ts';
import { watchDirectories } from './config/watch.ts';
import { messageOf } from './core/errors.ts';
import { checkRules } from './core/routing.ts';
import type { SubscriptionSpec } from './core/subscription.ts';
import type { Subscriptions } from './core/subscriptions.ts';
import { deadlineAfter } from './lib/deadline.ts';
import type { Log } from './lib/log.ts';
import type { LoadedResources } from './loaded-resources.ts';
import type { Streams } from './rpc/subscribe.ts';

/** What runs, and is changed. */
export interface Reloaded {
  readonly components: Components;
  readonly subscriptions: Subscriptions;
  readonly streams: Streams;
  readonly app: App;
}

export interface ReloadContext extends Reloaded {
  readonly files: LoadedResources;
  readonly log: Log;
}

/** Where resource files lie, how often they are read at the least, and until when. */
export interface Watched {
  readonly directories: readonly string[];
  readonly intervalMs: number;
  readonly signal: AbortSignal;
}

const DRAIN_MS = 30_000;

/** Reloads when files change. */
export function reloadOnChange(current: Resources, context: ReloadContext, watched: Watched): void {
  const { directories, intervalMs, signal } = watched;
  const reloader = new Reloader(current, context);
  context.log.info("Hot reloading enabled. Daprd will reload 'Component' and 'Subscription' resources on change");
  context.log.info(`Watching directories: [${directories.join(' ')}]`);
  watchDirectories(directories, intervalMs, signal, () => void reloader.reload());
}

class Reloader {
  private readonly context: ReloadContext;
  private components: readonly ComponentSpec[];
  private declared: readonly SubscriptionSpec[];
  private configurations: Resources['configurations'];
  private knownFaults: ReadonlySet<string>;
  private running: Promise<void> = Promise.resolve();

  constructor(current: Resources, context: ReloadContext) {
    this.context = context;
    this.components = current.components;
    this.declared = current.subscriptions;
    this.configurations = current.configurations;
    this.knownFaults = faultsOf(current);
  }

  /** Reads the files again and carries out what changed, one reload after the other. Never rejects: a failed one changes nothing. */
  reload(): Promise<void> {
    this.running = this.running
      .then(() => this.run())
      .catch((error: unknown) => {
        this.context.log.error(`resources were not reloaded, what was loaded goes on: ${messageOf(error)}`);
      });
    return this.running;
  }

  private async run(): Promise<void> {
    const { files, app } = this.context;
    const resources = await files.load();
    const faults = faultsOf(resources);
    const isWorse = !faults.isSubsetOf(this.knownFaults);
    if (isWorse) throw new Error([...faults.difference(this.knownFaults)].join('; '));
    this.knownFaults = faults;
    await checkRules(resources.subscriptions);
    await this.checkSuccessors(resources.components);
    await this.changeComponents(resources.components);
    await this.changeSubscriptions(resources.subscriptions);
    await app.declare(this.declared);
    this.tellConfigurations(resources.configurations);
    await files.adopt(resources);
  }

  /**
   * Rejects when what runs would be closed for something that cannot be opened, whatever happens. Where secret stores
   * change too nothing is known of settings yet.
   */
  private async checkSuccessors(wanted: readonly ComponentSpec[]): Promise<void> {
    const { components } = this.context;
    const { gone, added } = difference(this.components, wanted);
    if ([...gone, ...added].some(isSecretStore)) return;
    for (const spec of added) if (components.pubSubs.has(spec.name)) await components.check(spec);
  }

  /** What does not run though it should counts as new each time. */
  private async changeComponents(wanted: readonly ComponentSpec[]): Promise<void> {
    const { components, app, log } = this.context;
    const running = this.components.filter(({ name }) => !components.missing.has(name));
    const { gone, added } = difference(running, wanted);
    for (const spec of gone) {
      log.info(`Closing existing Component to reload: ${componentLabel(spec)}`);
      await this.closeOn(spec.name);
      const close = components.withdraw(spec.name);
      await this.closeOn(spec.name); // what a client or an app that recovered opened while the others ended
      await close();
    }
    this.components = wanted;
    for (const spec of storesFirst(added)) {
      log.info(`Adding Component for processing: ${componentLabel(spec)}`);
      try {
        await components.open(spec);
        if (components.runs(spec.name)) log.info(`Component updated: ${componentLabel(spec)}`);
      } catch (error) {
        log.error(`Ignoring error processing component: process component ${spec.name} error: ${messageOf(error)}`);
      }
    }
    if (gone.length > 0 || added.length > 0) await app.declare(this.declared);
  }

  /** Ends what runs on a component. */
  private async closeOn(name: string): Promise<void> {
    const { subscriptions, streams } = this.context;
    const deadline = deadlineAfter(DRAIN_MS);
    await streams.closeOf(name);
    await subscriptions.closeOf(name, deadline.signal);
    deadline.cancel();
  }

  /** What stayed keeps its place; what is new or was edited comes last. */
  private async changeSubscriptions(wanted: readonly SubscriptionSpec[]): Promise<void> {
    const { log } = this.context;
    const { gone, added, kept } = difference(this.declared, wanted);
    for (const { name } of gone) log.info(`Closing existing Subscription to reload: ${name}`);
    for (const { name } of added) {
      log.info(`Adding Subscription for processing: ${name}`);
      log.info(`Subscription updated: ${name}`);
    }
    this.declared = [...kept, ...added];
  }

  private tellConfigurations(now: Resources['configurations']): void {
    for (const { name } of difference(this.configurations, now).added) {
      this.context.log.info(`Configuration ${name} has no effect here: --config names the one that counts`);
    }
    this.configurations = now;
  }
}

/** Compares by everything that the resources say, wherever it is written. */
function difference<T extends object>(before: readonly T[], after: readonly T[]) {
  const keyOf = (one: T): string => JSON.stringify({ ...one, file: undefined });
  const [old, now] = [new Set(before.map(keyOf)), new Set(after.map(keyOf))];
  return {
    gone: before.filter((one) => !now.has(keyOf(one))),
    kept: before.filter((one) => now.has(keyOf(one))),
    added: after.filter((one) => !old.has(keyOf(one))),
  };
}

const faultsOf = ({ skipped }: Resources): ReadonlySet<string> =>
  new Set(skipped.filter(({ isFault }) => isFault).map(({ file, reason }) => `${file}: ${reason}`));
