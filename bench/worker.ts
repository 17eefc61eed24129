/** Processes of the bench that answer one question at a time. */

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

type Reply<A> = { readonly answer: A } | { readonly error: string };

/** Longer than any honest run takes: beyond it the sidecar has left a request without an answer. */
const LIMIT_MS = 180_000;

/**
 * A process that runs `script` of this folder, from the first question on: it must not start while a sidecar's start is
 * timed. What it prints goes to our standard error.
 */
export class Worker<Question, Answer> {
  private readonly script: string;
  private started: ChildProcess | undefined;

  constructor(script: string) {
    this.script = script;
  }

  get process(): ChildProcess {
    // Its own process group: a Ctrl-C is ours to handle, and the CPU of one group is easy to add up.
    const options = { stdio: ['ignore', 2, 2, 'ipc'] as ['ignore', 2, 2, 'ipc'], detached: true };
    return (this.started ??= fork(fileURLToPath(new URL(this.script, import.meta.url)), options));
  }

  /** Rejects with what the worker threw, when it dies, and when it takes longer than 3 minutes. */
  ask(question: Question): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const died = (): void => reject(new Error(`${this.script} died`));
    const answered = (reply: Reply<Answer>): void =>
      'error' in reply ? reject(new Error(reply.error)) : resolve(reply.answer);
    const late = (): void => reject(new Error(`${this.script} was not done within ${LIMIT_MS / 1000} s`));
    const timer = setTimeout(late, LIMIT_MS);
    this.process.once('exit', died).once('message', answered);
    this.process.send(question as object, (error) => error && reject(error));
    return promise.finally(() => {
      clearTimeout(timer);
      this.process.off('exit', died).off('message', answered);
    });
  }

  stop(): void {
    this.started?.kill('SIGKILL');
  }
}

/** The worker's side: what `handler` returns or throws goes back. */
export function serve<Question, Answer>(handler: (question: Question) => Promise<Answer>): void {
  const reply = (message: Reply<Answer>): void => void process.send?.(message);
  process.on('message', (question: Question) => {
    handler(question).then(
      (answer) => reply({ answer }),
      (error: unknown) => reply({ error: (error as Error).message }),
    );
  });
}
