/**
 * The running sidecars of a Dapr home directory, one file each: `<home>/run/<app-id>.<pid>.json` (of a long id
 * its beginning), readable by its owner only. Written by the sidecar, read by the commands; a file whose process is gone is swept by the next reader.
 */

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isRunning, startTicks } from './process-table.ts';

/** What one running sidecar says of itself. A port of 0 and an empty text mean: none. */
export interface Instance {
  readonly appId: string;
  /** The sidecar's own. */
  readonly pid: number;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Where its HTTP API listens, for example 127.0.0.1 or 0.0.0.0. */
  readonly httpHost: string;
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly metricsPort: number;
  /** Directory of its sockets when it listens on those instead of ports. */
  readonly socketDirectory?: string;
  readonly appPort: number;
  readonly appProtocol: string;
  readonly resourcesPaths: readonly string[];
  readonly version: string;
  /** The `dapr run` that started it. */
  readonly cliPid: number;
  /** The app that `dapr run` started, also the id of its process group. */
  readonly appPid: number;
  /** The app's command line. */
  readonly command: string;
}

interface InstanceFile extends Instance {
  readonly v: 1;
  /** Tells the process from a later one with the same pid; absent where the system does not say. */
  readonly startTicks?: number;
}

/** Of an app id in the name of a file, which has 255 bytes on most systems. */
const MAX_NAME = 200;

export interface Registration {
  /** Rewrites the file with these members changed. */
  update(changed: Partial<Instance>): void;
  /** Deletes the file. Safe to call twice. */
  remove(): void;
}

/** Writes the file of a running sidecar at once (well under a millisecond). Throws when the directory cannot be written. */
export function register(home: string, instance: Instance): Registration {
  const directory = join(home, 'run');
  const path = join(directory, `${encodeURIComponent(instance.appId).slice(0, MAX_NAME)}.${instance.pid}.json`);
  const ticks = startTicks(instance.pid);
  let file: InstanceFile = { v: 1, ...instance, ...(ticks === undefined ? {} : { startTicks: ticks }) };
  const write = (): void => {
    try {
      writeFileSync(`${path}.new`, `${JSON.stringify(file)}\n`, { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (error) {
      rmSync(`${path}.new`, { force: true }); // a full disk has room for its name
      throw error;
    }
  };
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  write();
  return {
    update(changed) {
      file = { ...file, ...changed };
      write();
    },
    remove: () => rmSync(path, { force: true }),
  };
}

/** The sidecars that run now, oldest first. Deletes the files of those that do not. */
export function instances(home: string): Instance[] {
  const directory = join(home, 'run');
  const found: Instance[] = [];
  for (const name of namesIn(directory)) {
    const path = join(directory, name);
    const file = readInstance(path);
    if (file && isRunning(file.pid, file.startTicks)) found.push(file);
    else if (file) rmSync(path, { force: true });
  }
  return found.sort((a, b) => a.startedAt.localeCompare(b.startedAt) || a.pid - b.pid);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith('.json'));
  } catch {
    return [];
  }
}

/** The file's content, or undefined when it is not one of ours or was just removed. */
function readInstance(path: string): InstanceFile | undefined {
  try {
    const file = JSON.parse(readFileSync(path, 'utf8')) as InstanceFile;
    return file.v === 1 && Number.isInteger(file.pid) && file.pid > 0 ? file : undefined;
  } catch {
    return undefined;
  }
}
