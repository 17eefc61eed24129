/** Publishing without a sidecar: the component is opened here, the event wrapped as a sidecar would, and it is closed again. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { findBroker } from '../brokers/index.ts';
import type { ComponentSpec } from '../config/component.ts';
import type { Environment } from '../config/environment.ts';
import { ASSUMED_COMPONENT, openComponents } from '../config/open-components.ts';
import { loadResources } from '../config/resources.ts';
import { isSecretStore } from '../config/secrets.ts';
import { messageOf } from '../core/errors.ts';
import { PublishError, Publisher, type PublishEntry, SINGLE } from '../core/publisher.ts';
import { Resiliency } from '../core/resiliency.ts';
import { NO_TRACE } from '../core/trace.ts';
import type { Log } from '../lib/log.ts';
import type { OutgoingEvent } from './events.ts';
import { Exit, Failure, usage } from './failure.ts';
import { say } from './output.ts';
import type { Answers } from './publish-request.ts';

export interface DirectPublish {
  readonly environment: Environment;
  /** Directories of resources; none: the default one, if it is there. */
  readonly directories: readonly string[];
  /** Empty: the only one there is. */
  readonly pubsub: string;
  /** Whose scopes apply, and the source of the events. */
  readonly appId: string;
  readonly topic: string;
  readonly events: readonly OutgoingEvent[];
}

export interface DirectAnswers extends Answers {
  readonly pubsub: string;
  /** The component's type. */
  readonly type: string;
}

export const NEVER = new AbortController().signal;

/** Publishes on the broker itself. Rejects with a Failure when the component cannot be had or nothing could be published. */
export async function publishDirect(wish: DirectPublish): Promise<DirectAnswers> {
  const { environment, appId } = wish;
  const log = warningsOnly();
  const specs = await componentsOf(wish, log);
  const spec = chosen(
    specs.filter(({ type }) => type.startsWith('pubsub.')),
    wish.pubsub,
  );
  const required = [...storesOf(spec, specs), spec].map((one) => ({ ...one, ignoreErrors: false }));
  const context = { findBroker, denied: [], appId, environment, log, signal: NEVER };
  const opened = await openComponents(required, context).catch(cannotOpen);
  const brokers = [...opened.pubSubs.values()].map(({ broker }) => broker);
  try {
    const publisher = new Publisher(
      opened.pubSubs,
      appId,
      new Resiliency({ onPolicy: () => undefined, log }),
      () => undefined,
    );
    return { pubsub: spec.name, type: spec.type, failed: await publishAll(publisher, spec.name, wish) };
  } finally {
    await Promise.all(brokers.map((broker) => broker.close()));
  }
}

/** Those of the resource files, or the one that is assumed. */
export async function componentsOf(
  { environment, directories, appId }: Pick<DirectPublish, 'environment' | 'directories' | 'appId'>,
  log: Log,
): Promise<readonly ComponentSpec[]> {
  const standard = join(environment.home, 'components');
  const searched = directories.length > 0 ? directories : existsSync(standard) ? [standard] : [];
  const { components } = await loadResources(searched, { appId, namespace: environment.namespace, log });
  return components.length === 0 && searched.length === 0 ? [ASSUMED_COMPONENT] : components;
}

/** The secret store that the component names, where it is among them. */
export const storesOf = ({ secretStore }: ComponentSpec, specs: readonly ComponentSpec[]): ComponentSpec[] =>
  specs.filter((one) => isSecretStore(one) && one.name === secretStore);

/** The one of that name, or the only one. Throws a Failure where there is none, or one that is in no file. */
export function chosen(specs: readonly ComponentSpec[], name: string): ComponentSpec {
  const [spec, other] = name === '' ? specs : specs.filter((one) => one.name === name);
  if (spec === undefined) {
    throw new Failure(name === '' ? 'there is no pub/sub component' : `there is no pub/sub component "${name}"`, {
      exit: Exit.notFound,
      code: 'NO_COMPONENT',
      why:
        specs.length > 0
          ? `found: ${specs.map((one) => one.name).join(', ')}`
          : 'no sidecar runs, and no resource file has one',
      next: ['--resources-path <directory that has it>', 'dapr init'],
    });
  }
  if (other !== undefined) throw usage('which pub/sub component?', ...specs.map((one) => `--pubsub ${one.name}`));
  if (spec.type === 'pubsub.in-memory') {
    throw new Failure(`"${spec.name}" keeps its events in a sidecar’s memory, and no sidecar runs`, {
      exit: Exit.notFound,
      code: 'NO_INSTANCE',
      next: ['dapr run --app-id myapp'],
    });
  }
  return spec;
}

function cannotOpen(error: unknown): never {
  throw new Failure('the broker cannot be reached', {
    exit: Exit.unreachable,
    code: 'UNREACHABLE',
    why: messageOf(error),
    cause: error,
  });
}

/** All at once where the publisher may number them; the broker keeps their order. */
async function publishAll(
  publisher: Publisher,
  pubsubName: string,
  { topic, events }: DirectPublish,
): Promise<Answers['failed']> {
  const alone = events.length === 1;
  const entries = events.map(({ data, contentType, metadata }, index): PublishEntry => {
    return { id: alone ? SINGLE : String(index), data, contentType, metadata };
  });
  const metadata = events[0]?.metadata ?? {};
  try {
    await publisher.publish({ pubsubName, topic, metadata, trace: NO_TRACE, protocol: 'grpc' }, entries);
    return [];
  } catch (error) {
    if (error instanceof PublishError && error.failures.length < events.length) {
      return error.failures.map(({ entryId, error: text }) => ({ index: Number(entryId), error: text }));
    }
    const forbidden = (error as { kind?: string }).kind === 'topic-forbidden';
    throw new Failure(messageOf(error), {
      exit: forbidden ? Exit.refused : Exit.failed,
      code: 'REFUSED',
      next: forbidden ? ['publish as an app that may: --publish-app-id <id>'] : [],
      cause: error,
    });
  }
}

export function warningsOnly(): Log {
  const log: Log = { debug() {}, info() {}, warn: say, error: say, scoped: () => log };
  return log;
}
