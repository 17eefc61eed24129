import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { readEnvironment, type Environment, type Variables } from '../../../src/config/environment.ts';
import { loadResources, type Resources } from '../../../src/config/resources.ts';
import type { Log } from '../../../src/lib/log.ts';

/** A log that keeps its lines as `level message`. */
export function memoryLog(): Log & { readonly lines: string[] } {
  const lines: string[] = [];
  const line = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  const log: Log & { readonly lines: string[] } = {
    lines,
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    scoped: () => log,
  };
  return log;
}

export function environmentOf(variables: Variables = {}): Environment {
  return readEnvironment(variables);
}

/** A directory with these files that is gone after the test. */
export async function directoryWith(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>> = {},
): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), 'config-test-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(directory, name)), { recursive: true });
    await writeFile(path.join(directory, name), content);
  }
  return directory;
}

/** A Component document; `extra` goes after its `version`. */
export const component = (name: string, extra = ''): string =>
  `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: ${name}\nspec:\n  type: pubsub.in-memory\n  version: v1\n${extra}`;
/** A Subscription document with a default route to its topic; `extra` goes after it. */
export const subscription = (name: string, topic: string, extra = ''): string =>
  `apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata:\n  name: ${name}\nspec:\n  pubsubname: pubsub\n  topic: ${topic}\n  routes:\n    default: /${topic}\n${extra}`;

export interface Loaded extends Resources {
  readonly lines: readonly string[];
  readonly names: readonly string[];
  readonly topics: readonly string[];
}

export async function load(
  directories: readonly string[],
  loader: { appId?: string; namespace?: string } = {},
): Promise<Loaded> {
  const log = memoryLog();
  const resources = await loadResources(directories, { appId: 'app1', namespace: '', log, ...loader });
  return {
    ...resources,
    lines: log.lines,
    names: resources.components.map(({ name }) => name),
    topics: resources.subscriptions.map(({ topic }) => topic),
  };
}

export const loadText = async (t: ExecutionContext, text: string | Uint8Array, loader = {}): Promise<Loaded> =>
  load([await directoryWith(t, { 'one.yaml': text })], loader);
