import type { ChildProcess } from 'node:child_process';

/** Ends it without a chance to tidy up, also where it was stopped. Resolves when it has gone. */
export async function endProcess(child: ChildProcess | undefined): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGCONT');
  child.kill('SIGKILL');
  await exited;
}
