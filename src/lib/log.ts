/** What the code logs to. The format and the destination belong to observe/logger.ts. */
export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log under another scope, for example `dapr.runtime`. `fields` are those of each of its lines. */
  scoped(scope: string, fields?: LogFields): Log;
}

/** The log of a process. */
export interface ProcessLog extends Log {
  /** Why it ends; written whatever the level. */
  fatal(message: string): void;
  /** Resolves when each line is written, for who ends the process; in a second at the latest: nobody may be reading. */
  written(): Promise<void>;
}
