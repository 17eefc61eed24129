/** From Component resources to running brokers (contract 11.2). */

import type { Broker, BrokerFactory, BrokerFeature } from '../core/broker.ts';
import { messageOf } from '../core/errors.ts';
import type { PubSub } from '../core/publisher.ts';
import { topicScopes } from '../core/scopes.ts';
import { deadlineAfter, failAtAbort } from '../lib/deadline.ts';
import type { Log } from '../lib/log.ts';
import { componentLabel, type ComponentSpec } from './component.ts';
import type { Environment } from './environment.ts';
import { awaitedSecretStore, isSecretStore, openSecretStore, resolveSettings, type SecretStore } from './secrets.ts';
import { fillTemplates } from './templates.ts';

export interface OpenContext {
  /** Undefined where nothing is called so. */
  readonly findBroker: (type: string, socketsFolder: string) => Promise<BrokerFactory | undefined>;
  /** Types, `type` or `type/version`, that are not loaded. */
  readonly denied: readonly string[];
  readonly appId: string;
  readonly environment: Environment;
  /** Hears of each component that was opened, and of each that could not be made or did not start. */
  readonly onComponent?: (name: string, type: string, fault?: 'creation' | 'init') => void;
  readonly log: Log;
  /** Aborts when nothing is to be opened any more. What is being opened then fails. */
  readonly signal: AbortSignal;
}

/** A component that is loaded, as the metadata API lists it. */
export interface LoadedComponent {
  readonly name: string;
  readonly type: string;
  readonly version: string;
  readonly capabilities: readonly string[];
}

/** What is assumed when there is no component at all: the embedded durable broker. */
export const ASSUMED_COMPONENT: ComponentSpec = {
  name: 'pubsub',
  type: 'pubsub.sqlite',
  version: 'v1',
  initTimeoutMs: 5000,
  ignoreErrors: true,
  metadata: [],
  secretStore: '',
  scopes: [],
  file: '',
};

/** Says so. */
export function tellOfAssumed(searched: readonly string[], home: string): string {
  const where = searched.length > 0 ? ` in ${searched.join(', ')}` : '';
  return `no component found${where}: component pubsub (pubsub.sqlite) is assumed, under ${home}`;
}

/**
 * Opens secret stores, then the rest, each after the other as written. Rejects when one fails that does not say
 * `ignoreErrors`; what was opened before is closed again.
 */
export async function openComponents(specs: readonly ComponentSpec[], context: OpenContext): Promise<Components> {
  const components = new Components(context);
  for (const spec of storesFirst(specs)) {
    try {
      await components.open(spec);
    } catch (error) {
      const text = `process component ${spec.name} error: ${messageOf(error)}`;
      if (!spec.ignoreErrors) {
        context.log.warn(`Error processing component, daprd will exit gracefully: ${text}`);
        await components.close();
        throw new Error(text, { cause: error });
      }
      context.log.error(`Ignoring error processing component: ${text}`);
    }
  }
  return components;
}

/** In the order in which they can be opened: others need what secret stores know. */
export const storesFirst = (specs: readonly ComponentSpec[]): ComponentSpec[] =>
  specs.toSorted((a, b) => Number(isSecretStore(b)) - Number(isSecretStore(a)));

/** The components that run. */
export class Components {
  readonly pubSubs = new Map<string, PubSub>();
  /** Names of those that are wanted and do not run: they could not be opened, or their secret store is not there. */
  readonly missing = new Set<string>();
  private readonly stores = new Map<string, SecretStore>();
  private readonly listed = new Map<string, LoadedComponent>();
  private readonly context: OpenContext;

  constructor(context: OpenContext) {
    this.context = context;
  }

  /** In the order they were opened. */
  get loaded(): readonly LoadedComponent[] {
    return [...this.listed.values()];
  }

  runs(name: string): boolean {
    return this.listed.has(name);
  }

  /** Opens one, unless it is denied, waits for a secret store or is no business of ours. Rejects when it cannot start. */
  async open(spec: ComponentSpec): Promise<void> {
    const { log } = this.context;
    if (!this.isWanted(spec)) return;
    const { name, type, version } = spec;
    this.missing.add(name);
    const awaited = awaitedSecretStore(spec, this.stores);
    if (awaited !== undefined) {
      log.warn(`Component ${name} references a secret store that isn't loaded: ${awaited}`);
      return;
    }
    const label = componentLabel(spec);
    const capabilities = await this.init(spec).catch((cause: unknown) => {
      log.error(`Failed to init component ${label}: ${messageOf(cause)}`);
      const text = `initialization error occurred for ${label}: ${messageOf(cause)}`;
      throw new Error(`[INIT_COMPONENT_FAILURE]: ${text}`, { cause });
    });
    this.missing.delete(name);
    this.listed.set(name, { name, type, version, capabilities });
    this.context.onComponent?.(name, type);
    log.info(`Component loaded: ${label}`);
  }

  /** Opens what is wanted and waits for nothing; returns its capabilities. */
  private async init(spec: ComponentSpec): Promise<readonly string[]> {
    const { name, type, version } = spec;
    const { settings, topicPrefix } = await this.resolve(spec);
    if (isSecretStore(spec)) {
      this.stores.set(name, await openSecretStore(spec, settings, this.context.environment));
      return [];
    }
    const broker = await openBroker(spec, settings, this.context);
    const group = givenGroup(settings) || this.context.appId;
    const scopes = topicScopes(settings, this.context.appId);
    this.pubSubs.set(name, { name, type, version, broker, group, scopes, topicPrefix });
    return CAPABILITIES.filter(([feature]) => broker.features.has(feature)).map(([, text]) => text);
  }

  /** Rejects when nothing opens its type, or nothing would with these settings. Looks no further, at no server. */
  async check(spec: ComponentSpec): Promise<void> {
    if (OTHERS.has(spec.type.split('.')[0] as string)) return;
    const factory = await factoryOf(spec, this.context);
    if (!factory) throw new Error(`component ${componentLabel(spec)}: there is no such type`);
    if (awaitedSecretStore(spec, this.stores) !== undefined) return;
    const { settings } = await this.resolve(spec);
    try {
      factory.check(settings);
    } catch (error) {
      throw new Error(`component ${componentLabel(spec)}: ${messageOf(error)}`, { cause: error });
    }
  }

  /** From now on nothing is opened on it. Returns what closes it, once nothing runs on it any more. */
  withdraw(name: string): () => Promise<void> {
    const pubsub = this.pubSubs.get(name);
    this.pubSubs.delete(name);
    this.stores.delete(name);
    this.listed.delete(name);
    return async () => pubsub?.broker.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.pubSubs.values()].map(({ broker }) => broker.close()));
  }

  /** With the secrets of the stores that run, and templates, filled in. */
  async resolve(spec: ComponentSpec): Promise<ReturnType<typeof fillTemplates>> {
    const { appId, environment, log } = this.context;
    return fillTemplates(await resolveSettings(spec, this.stores, environment, log), { appId, ...environment });
  }

  private isWanted(spec: ComponentSpec): boolean {
    const { denied, log } = this.context;
    const { name, type, version } = spec;
    if (denied.includes(type) || denied.includes(`${type}/${version}`)) {
      const types = `'${type} (${type}/${version})'`;
      log.warn(`component '${name}' cannot be loaded because components of type ${types} are not allowed`);
      return false;
    }
    if (isSecretStore(spec) || type.startsWith('pubsub.')) return true;
    if (!OTHERS.has(type.split('.')[0] as string)) throw new Error(`incorrect type ${type}`);
    log.info(`Component ${componentLabel(spec)} is no pub/sub component and is not loaded`);
    return false;
  }
}

/** Building blocks that are no business of ours: what a type of theirs begins with. */
const OTHERS: ReadonlySet<string> = new Set([
  'bindings',
  'configuration',
  'conversation',
  'crypto',
  'lock',
  'middleware',
  'nameresolution',
  'secretstores',
  'state',
]);

/** Of every broker there is only the first version: v1, v0, or none written. */
const hasVersion = ({ version }: ComponentSpec): boolean => /^v[01]$/i.test(version);

/** Who opens components of that type and version. */
async function factoryOf(
  spec: ComponentSpec,
  { findBroker, environment }: OpenContext,
): Promise<BrokerFactory | undefined> {
  return hasVersion(spec) ? findBroker(spec.type, environment.componentsSocketsFolder) : undefined;
}

const CAPABILITIES: readonly (readonly [BrokerFeature, string])[] = [
  ['message-ttl', 'MESSAGE_TTL'],
  ['wildcard-topics', 'SUBSCRIBE_WILDCARDS'],
  ['bulk-publish', 'BULK_PUBSUB'],
  ['bulk-at-once', 'BULK_SUBSCRIBE_IMMEDIATE'],
];

/** Empty where the component names none. */
const givenGroup = (settings: Readonly<Record<string, string>>): string => settings['consumerID']?.trim() ?? '';

async function openBroker(
  spec: ComponentSpec,
  settings: Readonly<Record<string, string>>,
  context: OpenContext,
): Promise<Broker> {
  const { appId, environment, onComponent, log, signal } = context;
  const factory = await factoryOf(spec, context);
  if (!factory) {
    onComponent?.(spec.name, spec.type, 'creation');
    const searched = hasVersion(spec)
      ? `it is not built in, and no socket of that name is in ${environment.componentsSocketsFolder}`
      : 'there is no version but v1';
    throw new Error(`couldn't find message bus ${spec.type}/${spec.version}: ${searched}`);
  }
  const given = givenGroup(settings);
  const label = componentLabel(spec);
  const timeout = deadlineAfter(spec.initTimeoutMs);
  const gaveUp = AbortSignal.any([timeout.signal, signal]);
  const reason = (): string =>
    signal.aborted ? 'the sidecar is shutting down' : `init timeout for component ${label}`;
  const opening = factory.open(settings, {
    name: spec.name,
    appId,
    consumerId: given || appId,
    consumerIdGiven: given !== '',
    home: environment.home,
    log: log.scoped('dapr.contrib', { component: label }),
    initSignal: gaveUp,
  });
  try {
    return await Promise.race([opening, failAtAbort(gaveUp, reason)]);
  } catch (error) {
    void opening.then((broker) => broker.close()).catch(() => undefined);
    onComponent?.(spec.name, spec.type, 'init');
    throw error;
  } finally {
    timeout.cancel();
  }
}
