/**
 * The sidecar's log, in the format of Dapr's (contract 12.6): logfmt text or JSON lines. A class of messages (one
 * level, scope and opening words) that comes faster than its budget is summed up instead of printed.
 */

import { openSync, write, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import type { Log, LogFields, ProcessLog } from '../lib/log.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal';

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly json: boolean;
  /** Path to append to instead of standard output; empty: none. */
  readonly file: string;
  readonly appId: string;
  readonly version: string;
}

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3, fatal: 4 };
const WINDOW_MS = 1000;
const BUDGET = 10;
/** Of a message's text, what tells its class: reasons come later. */
const OPENING_LENGTH = 48;
/** What differs within a class: ids of events, numbers, addresses. */
const VARIABLE = /\S*\d\S*/g;

/** The log of one sidecar. Writing never throws: a log that cannot be written must not stop events. */
export function createLogger(options: LoggerOptions): ProcessLog {
  return new Logger(new Sink(options), 'dapr.runtime');
}

class Logger implements ProcessLog {
  private readonly sink: Sink;
  private readonly scope: string;
  private readonly fields: LogFields;

  constructor(sink: Sink, scope: string, fields: LogFields = {}) {
    this.sink = sink;
    this.scope = scope;
    this.fields = fields;
  }

  debug(message: string, fields?: LogFields): void {
    this.log('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.log('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.log('warning', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.log('error', message, fields);
  }

  fatal(message: string): void {
    this.log('fatal', message, undefined);
  }

  written(): Promise<void> {
    return this.sink.written();
  }

  scoped(scope: string, fields?: LogFields): Log {
    return new Logger(this.sink, scope, fields);
  }

  private log(level: string, message: string, fields: LogFields | undefined): void {
    this.sink.log(level, this.scope, message, { ...this.fields, ...fields });
  }
}

const STDOUT = 1;
/** Lines that wait while the destination does not take any, in characters. What comes on top is dropped and counted. */
const MAX_WAITING = 1_000_000;
/** How long the end of the process may wait for somebody who reads the log. */
const MAX_REST_MS = 1000;

/** Lines on their way to a file descriptor, one write at a time and off the event loop: a reader that stops reading stops nothing here. */
class LineWriter {
  private readonly fd: number;
  private waiting = '';
  private writing = false;
  private dropped = 0;
  private onRest: (() => void) | undefined;

  constructor(fd: number) {
    this.fd = fd;
    process.once('exit', () => this.flush());
  }

  add(line: string): void {
    if (this.waiting.length > MAX_WAITING) this.dropped++;
    else this.waiting += line;
    if (!this.writing) this.next();
  }

  /** Resolves when everything is written, or `ms` are over. */
  async rest(ms: number): Promise<void> {
    if (!this.writing) return;
    await new Promise<void>((resolve) => {
      this.onRest = resolve;
      setTimeout(resolve, ms);
    });
  }

  private next(): void {
    if (this.waiting === '') return this.onRest?.();
    const bytes = Buffer.from(this.waiting);
    this.waiting = this.dropped > 0 ? `${this.dropped} log lines dropped: nobody reads them\n` : '';
    this.dropped = 0;
    this.writing = true;
    this.write(bytes, 0);
  }

  private write(bytes: Buffer, from: number): void {
    write(this.fd, bytes, from, bytes.length - from, null, (error, written) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.write(bytes, from), 10);
      else if (!error && from + written < bytes.length) this.write(bytes, from + written);
      else {
        this.writing = false;
        this.next();
      }
    });
  }

  /** What is left, at the end of the process, as far as the destination takes it. */
  private flush(): void {
    try {
      writeSync(this.fd, this.waiting);
    } catch {
      // Nobody reads any more, and there is nobody to tell.
    }
    this.waiting = '';
  }
}

/** Of one class, from its first message until the window ends. */
interface Budget {
  left: number;
  held: number;
}

class Sink {
  private readonly options: LoggerOptions;
  private readonly least: number;
  private readonly host = hostname();
  private readonly lines: LineWriter;
  private readonly budgets = new Map<string, Budget>();

  constructor(options: LoggerOptions) {
    this.options = options;
    this.least = RANK[options.level];
    this.lines = new LineWriter(options.file === '' ? STDOUT : openSync(options.file, 'a'));
  }

  written(): Promise<void> {
    return this.lines.rest(MAX_REST_MS);
  }

  log(level: string, scope: string, message: string, fields: LogFields): void {
    const rank = RANK[level === 'warning' ? 'warn' : (level as LogLevel)];
    if (rank < this.least) return;
    if (rank >= RANK.warn && !this.mayPrint(level, scope, message)) return;
    this.print(level, scope, message, fields);
  }

  private mayPrint(level: string, scope: string, message: string): boolean {
    const opening = openingOf(message);
    const key = `${level} ${scope} ${opening}`;
    let budget = this.budgets.get(key);
    if (!budget) {
      this.budgets.set(key, (budget = { left: BUDGET, held: 0 }));
      setTimeout(() => {
        this.budgets.delete(key);
        const { held } = budget as Budget;
        if (held > 0) this.print(level, scope, `${held} more like this: ${opening}…`, {});
      }, WINDOW_MS).unref();
    }
    if (budget.left > 0) budget.left--;
    else budget.held++;
    return budget.held === 0;
  }

  private print(level: string, scope: string, msg: string, fields: LogFields): void {
    const { appId, version, json } = this.options;
    const line = {
      time: new Date().toISOString(),
      level,
      msg,
      ...fields,
      app_id: appId,
      instance: this.host,
      scope,
      type: 'log',
      ver: version,
    };
    this.lines.add(`${json ? JSON.stringify(line) : logfmt(line)}\n`);
  }
}

const openingOf = (message: string): string =>
  message
    .slice(0, 4 * OPENING_LENGTH)
    .replace(VARIABLE, '…')
    .slice(0, OPENING_LENGTH);

function logfmt(line: Readonly<Record<string, unknown>>): string {
  return Object.entries(line)
    .map(([key, value]) => `${key}=${key === 'time' || key === 'msg' ? JSON.stringify(value) : word(value)}`)
    .join(' ');
}

function word(value: unknown): string {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return /^[\w./:-]+$/.test(text) ? text : JSON.stringify(text);
}
