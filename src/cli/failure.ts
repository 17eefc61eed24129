/** The one error of the commands: what went wrong, why, what to do next, and the exit code that says so. */

import { styleText } from 'node:util';

/** Exit codes. `run` also passes on its app's code, or 128 and the signal's number. */
export const Exit = {
  done: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unreachable: 4,
  timedOut: 5,
  partly: 6,
  refused: 7,
  /** `run` itself or its sidecar failed. */
  runFailed: 125,
  notExecutable: 126,
  noSuchProgram: 127,
} as const;

export interface FailureDetails {
  readonly exit: number;
  /** Upper case with underscores, for programs. */
  readonly code: string;
  readonly why?: string;
  /** Commands or advice, one a line. */
  readonly next?: readonly string[];
  readonly cause?: unknown;
}

export class Failure extends Error {
  readonly exit: number;
  readonly code: string;
  readonly why: string;
  readonly next: readonly string[];

  constructor(message: string, details: FailureDetails) {
    super(message, { cause: details.cause });
    this.name = 'Failure';
    this.exit = details.exit;
    this.code = details.code;
    this.why = details.why ?? '';
    this.next = details.next ?? [];
  }

  /** As one JSON object. */
  toJSON(): object {
    return { error: { code: this.code, message: this.message, cause: this.why, next: this.next } };
  }
}

/** Anything that was thrown, as a failure. What is not one of ours is shown by its message; `--verbose` adds where. */
export function failureOf(thrown: unknown, verbose: boolean): Failure {
  if (thrown instanceof Failure) return thrown;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const why = verbose ? (error.stack ?? '') : '';
  return new Failure(error.message, {
    exit: Exit.failed,
    code: (error as NodeJS.ErrnoException).code ?? 'FAILED',
    why,
  });
}

/** Wrong words on the command line. */
export function usage(message: string, ...next: string[]): Failure {
  return new Failure(message, { exit: Exit.usage, code: 'USAGE', next });
}

/** Three parts, the label of each in front of its first line. */
export function printFailure(failure: Failure, asJson: boolean): void {
  if (asJson) return void process.stderr.write(`${JSON.stringify(failure)}\n`);
  const red = styleText(['red', 'bold'], 'error', { stream: process.stderr });
  const lines = [`${red}  ${failure.code}  ${failure.message}`];
  if (failure.why !== '') lines.push(`why    ${indent(failure.why)}`);
  if (failure.next.length > 0) lines.push(`next   ${failure.next.map(indent).join('\n       ')}`);
  process.stderr.write(`${lines.join('\n')}\n`);
}

const indent = (text: string): string => text.trimEnd().replaceAll('\n', '\n       ');
