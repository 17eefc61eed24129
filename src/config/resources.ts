/** The resource files of a sidecar: what is in them, what was left out, and why (contract 11.1). */

import path from 'node:path';
import { messageOf } from '../core/errors.ts';
import type { SubscriptionSpec } from '../core/subscription.ts';
import type { Log } from '../lib/log.ts';
import { componentLabel, type ComponentSpec } from './component.ts';
import {
  readDocument,
  ResourceError,
  type Kind,
  type RawResource,
  type Reader,
  type Reading,
  type Specs,
} from './resource-document.ts';
import { listResourceFiles, readResourceFile } from './resource-files.ts';
import { yamlDocuments } from './yaml.ts';

/** A file (`document` 0) or one document of it, from 1, that was not loaded. */
export interface Skipped {
  readonly file: string;
  readonly document: number;
  readonly reason: string;
  /** Whether it is broken, and not just meant for somebody else. */
  readonly isFault: boolean;
}

export interface Resources {
  /** In the order of the files. Names are unique. */
  readonly components: readonly ComponentSpec[];
  /** The declarative ones, in the order of the files. Of several with one name only the last is here. */
  readonly subscriptions: readonly SubscriptionSpec[];
  readonly resiliencies: readonly RawResource[];
  readonly configurations: readonly RawResource[];
  readonly httpEndpoints: readonly RawResource[];
  readonly skipped: readonly Skipped[];
  /** Whether a component was written down at all, loaded or not. */
  readonly namesComponents: boolean;
}

export interface Loader extends Reader {
  readonly log: Log;
}

/** A reading and where it was read. */
type Entry = Reading & { readonly file: string; readonly document: number };

/**
 * Loads every resource in the `.yaml` and `.yml` files of some directories, not of their sub-directories: directories
 * in the order given, files by name, documents from top to bottom. What is unreadable is skipped with a warning, what
 * is meant for somebody else without a word; both are listed in `skipped`.
 *
 * Rejects when a directory cannot be read or two components have one name. The message is that of a start-up; the
 * error in `cause` has it without the words in front.
 */
export async function loadResources(directories: readonly string[], loader: Loader): Promise<Resources> {
  const entries: Entry[] = [];
  try {
    for (const directory of directories) {
      for (const file of await listResourceFiles(directory)) entries.push(...(await entriesOf(file, loader)));
    }
    refuseDuplicates(specsOf(entries, 'Component'));
  } catch (cause) {
    throw new Error(`failed to load components: ${messageOf(cause)}`, { cause });
  }
  const last = lastOfEachName(entries);
  return {
    components: specsOf(last, 'Component'),
    subscriptions: specsOf(last, 'Subscription'),
    resiliencies: specsOf(last, 'Resiliency'),
    configurations: specsOf(last, 'Configuration'),
    httpEndpoints: specsOf(last, 'HTTPEndpoint'),
    namesComponents: entries.some(
      (one) => one.kind === 'Component' || (one.kind === 'skipped' && one.of === 'Component'),
    ),
    skipped: last.flatMap((one) =>
      one.kind === 'skipped'
        ? [{ file: one.file, document: one.document, reason: one.reason, isFault: one.isFault ?? false }]
        : [],
    ),
  };
}

async function entriesOf(file: string, loader: Loader): Promise<Entry[]> {
  if (!/\.ya?ml$/i.test(file)) {
    loader.log.warn(`A non-YAML Component file ${path.basename(file)} was detected, it will not be loaded`);
    return [{ kind: 'skipped', file, document: 0, reason: 'not a YAML file' }];
  }
  const unreadable = (document: number, error: unknown): Entry => {
    const kind = error instanceof ResourceError ? error.kind : 'Component';
    const reason = messageOf(error);
    loader.log.warn(`daprd load ${kind} error when parsing manifests yaml resource in ${file}: ${reason}`);
    return { kind: 'skipped', of: kind, isFault: true, file, document, reason };
  };
  try {
    const text = await readResourceFile(file);
    if (text.trim() === '') return [{ kind: 'skipped', isFault: true, file, document: 0, reason: 'is empty' }];
    return yamlDocuments(text).map(({ number, content, error }) => {
      try {
        if (error) throw error;
        return { ...readDocument(content, file, loader), file, document: number };
      } catch (fault) {
        return unreadable(number, fault);
      }
    });
  } catch (error) {
    return [unreadable(0, error)];
  }
}

function specsOf<K extends Kind>(entries: readonly Entry[], kind: K): Specs[K][] {
  return entries.flatMap((one) => (one.kind === kind ? [one.spec as Specs[K]] : []));
}

/** Tells all of them at once, each with the first of its name. */
function refuseDuplicates(components: readonly ComponentSpec[]): void {
  const existing = new Map<string, ComponentSpec>();
  const faults: string[] = [];
  for (const one of components) {
    const other = existing.get(one.name);
    if (!other) existing.set(one.name, one);
    else
      faults.push(
        `duplicate definition of Component name ${componentLabel(one)} with existing ${componentLabel(other)}`,
      );
  }
  if (faults.length > 0) throw new Error(faults.join('\n'));
}

/** A subscription replaces an earlier one of its name and stands in its own place. Without a name it replaces none. */
function lastOfEachName(entries: readonly Entry[]): Entry[] {
  const last = new Map<string, Entry>();
  for (const one of entries) if (one.kind === 'Subscription') last.set(one.spec.name, one);
  return entries.map((one) => {
    const later = one.kind === 'Subscription' && one.spec.name !== '' ? last.get(one.spec.name) : one;
    if (later === undefined || later === one) return one;
    const reason = `replaced by the subscription of the same name in ${later.file}`;
    return { kind: 'skipped', file: one.file, document: one.document, reason };
  });
}
