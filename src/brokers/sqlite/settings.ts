import { fileURLToPath } from 'node:url';
import { join, resolve } from 'node:path';
import { duration, integer, parseSettings, quantity, text } from '../../lib/settings.ts';

const DAY_MS = 86_400_000;
const MiB = 2 ** 20;

export const SETTINGS = {
  connectionString: text({
    default: '',
    description:
      'The database file: a path or a `file:` URI (its query is ignored). By default `pubsub.db` in the Dapr home directory. Sidecars that name the same file share its topics.',
  }),
  concurrency: integer({
    default: 32,
    min: 1,
    description:
      'How many messages a subscription handles at once. With 1 they are handled strictly in order: a message that waits for its retry holds the ones behind it, a parked one does not.',
  }),
  processingTimeout: duration({
    default: 60_000,
    description:
      'How long a sidecar that hangs keeps the messages it has in hand; handlers that merely take long keep theirs. A sidecar that ended gives them back at once. `0`: only then.',
  }),
  retention: duration({
    default: 7 * DAY_MS,
    description:
      'How long a message stays that every group has settled, or whose topic no group ever asked for. A new group gets what is there.',
  }),
  maxHistory: quantity({
    default: 256 * MiB,
    shown: '256Mi',
    description:
      'While the file holds more than this, settled messages go before their retention is over, oldest first. What is not settled always stays.',
  }),
  busyTimeout: duration({
    default: 10_000,
    description: 'How long to wait for the lock of another sidecar before an operation fails.',
  }),
};

/** What the database thread needs to know; plain data, it crosses the thread border. */
export interface DatabaseOptions {
  /** Absolute. */
  readonly path: string;
  readonly processingTimeoutMs: number;
  readonly retentionMs: number;
  readonly maxHistoryBytes: number;
  readonly busyTimeoutMs: number;
}

/** Between two signs of life of a sidecar. */
export const beatPauseMs = (processingTimeoutMs: number): number => processingTimeoutMs / 3;

export interface SqliteOptions {
  readonly database: DatabaseOptions;
  readonly concurrency: number;
}

/** Throws one error with everything that is wrong. */
export function readSettings(raw: Readonly<Record<string, string>>, home: string): SqliteOptions {
  const values = parseSettings(SETTINGS, raw);
  return {
    concurrency: values.concurrency,
    database: {
      path: databasePath(values.connectionString, home),
      processingTimeoutMs: values.processingTimeout,
      retentionMs: values.retention,
      maxHistoryBytes: values.maxHistory,
      busyTimeoutMs: values.busyTimeout,
    },
  };
}

/** The file that a connection string of Dapr's sqlite components names. */
export function databasePath(connectionString: string, home: string): string {
  if (connectionString === '') return join(home, 'pubsub.db');
  const [location = '', query = ''] = connectionString.startsWith('file:')
    ? connectionString.split('?', 2)
    : [connectionString];
  if (/(^|:):memory:$/.test(location) || /(^|&)mode=memory(&|$)/.test(query)) {
    throw new Error('connectionString wants a file: pubsub.in-memory is the broker that keeps nothing');
  }
  if (!location.startsWith('file:')) return resolve(location);
  return location.startsWith('file:/') ? fileURLToPath(location) : resolve(decodeURIComponent(location.slice(5)));
}
