/**
 * What `run` prints. On a terminal: short status lines, and the app's output behind its name. Elsewhere the app's
 * output goes through untouched, on the stream it was written to, and ours goes to standard error: status as
 * `time=... app=... step=...` lines and the sidecar's log as the sidecar writes it. With `-o json` everything is
 * JSON, one object a line on standard output.
 */

import type { Readable } from 'node:stream';
import { styleText } from 'node:util';

export type StreamName = 'stdout' | 'stderr';
export type Facts = Readonly<Record<string, unknown>>;

export interface RunOutput {
  /** Whether the app's output and the sidecar's log pass through us; otherwise they have our own streams. */
  readonly pipes: { readonly app: boolean; readonly log: boolean };
  /** Something happened: `text` for people, `facts` for programs. */
  status(step: string, text: string, facts?: Facts): void;
  /** Prints what the app writes until the stream ends. */
  app(stream: Readable, name: StreamName): void;
  /** Prints the sidecar's log likewise. */
  sidecar(stream: Readable): void;
}

export interface OutputWish {
  readonly appId: string;
  readonly form: string | undefined;
  readonly logAsJson: boolean;
  /** False: never, even on a terminal. */
  readonly prefix: boolean;
  readonly timestamps: boolean;
  /** Also print what scripts for Dapr's own command look for. */
  readonly compat: boolean;
  /** Show the sidecar's log on a terminal from `info` up, not only what is wrong. */
  readonly showLog: boolean;
}

export function createRunOutput(wish: OutputWish): RunOutput {
  return wish.form === 'json' ? new JsonOutput(wish.appId) : new TextOutput(wish);
}

class TextOutput implements RunOutput {
  readonly pipes;
  private readonly wish: OutputWish;
  /** The stream that has written a line without its end: prompts are shown at once. Others then begin a new line. */
  private unfinished: StreamName | undefined;

  constructor(wish: OutputWish) {
    this.wish = wish;
    const { prefix, timestamps, compat } = wish;
    this.pipes = { app: (process.stdout.isTTY && prefix) || timestamps || compat, log: process.stderr.isTTY };
  }

  status(step: string, text: string, facts: Facts = {}): void {
    if (process.stderr.isTTY && !this.wish.logAsJson)
      return this.line(`${this.name()}   ${forPeople(step, text, facts)}`);
    const time = new Date().toISOString();
    const { appId, logAsJson } = this.wish;
    const line = { time, status: step, msg: text, app_id: appId, ...facts };
    this.line(logAsJson ? JSON.stringify(line) : logfmt({ time, app: appId, step, msg: text, ...facts }));
  }

  app(stream: Readable, name: StreamName): void {
    const { compat, prefix, timestamps, appId } = this.wish;
    const label = compat ? '== APP == ' : prefix ? coloured(appId, `${appId} │ `, process[name]) : '';
    const start = (): string => `${label}${timestamps ? `${new Date().toISOString()} ` : ''}`;
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      const begun = this.unfinished === name;
      const lines = chunk.split('\n');
      const rest = lines.at(-1) === '' ? undefined : lines.at(-1);
      if (rest === undefined) lines.pop();
      const text = lines.map((line, index) => `${index === 0 && begun ? '' : start()}${line}`).join('\n');
      process[name].write(`${begun ? '' : this.gap()}${text}${rest === undefined ? '\n' : ''}`);
      this.unfinished = rest === undefined ? undefined : name;
    });
  }

  /** On a terminal only what is wrong, unless more was asked for. */
  sidecar(stream: Readable): void {
    const { appId, showLog, compat } = this.wish;
    const label = coloured(appId, `${appId}·sidecar │ `, process.stderr);
    eachLine(stream, (line) => {
      if (showLog || compat || !/\blevel"?[=:]"?(debug|info)\b/.test(line)) this.line(`${label}${line}`);
    });
  }

  private line(text: string): void {
    process.stderr.write(`${this.gap()}${text}\n`);
  }

  private gap(): string {
    const gap = this.unfinished === undefined ? '' : '\n';
    this.unfinished = undefined;
    return gap;
  }

  private name(): string {
    return coloured(this.wish.appId, this.wish.appId, process.stderr);
  }
}

/** For the same app always the same. */
const COLOURS = ['cyan', 'magenta', 'green', 'blue', 'yellow', 'cyanBright'] as const;

function coloured(appId: string, text: string, stream: NodeJS.WriteStream): string {
  const sum = [...appId].reduce((total, letter) => total + letter.charCodeAt(0), 0);
  return styleText(COLOURS[sum % COLOURS.length] as 'cyan', text, { stream });
}

function forPeople(step: string, text: string, { elapsedMs }: Facts): string {
  const elapsed = typeof elapsedMs === 'number' ? ` ${(elapsedMs / 1000).toFixed(1)} s` : '';
  return `${step.padEnd(12)} ${elapsed === '' ? text : text.padEnd(52)}${elapsed}`;
}

function logfmt(facts: Facts): string {
  return Object.entries(facts)
    .map(([key, value]) => `${key}=${word(value)}`)
    .join(' ');
}

function word(value: unknown): string {
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
  return /^[\w./:@-]+$/.test(text) ? text : JSON.stringify(text);
}

class JsonOutput implements RunOutput {
  readonly pipes = { app: true, log: true };
  private readonly appId: string;

  constructor(appId: string) {
    this.appId = appId;
  }

  status(step: string, text: string, facts: Facts = {}): void {
    this.write('status', { step, text, ...facts });
  }

  app(stream: Readable, name: StreamName): void {
    eachLine(stream, (line) => this.write('output', { stream: name, line }));
  }

  sidecar(stream: Readable): void {
    eachLine(stream, (line) => this.write('log', { line }));
  }

  private write(type: string, facts: Facts): void {
    const line = { v: 1, time: new Date().toISOString(), type, appId: this.appId, ...facts };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

/** Calls for every line, the last one also when nothing ends it. */
function eachLine(stream: Readable, listener: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() as string;
    lines.forEach(listener);
  });
  stream.on('end', () => void (rest !== '' && listener(rest)));
}
