import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** What a command said (both streams, in order) and its exit code; 127 when there is no such command. */
export interface Ran {
  readonly output: string;
  readonly code: number;
}

/** Runs a command in the checkout with no standard input. Never rejects. */
export function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return new Promise((resolve) => {
    const stdio = ['ignore', 'pipe', 'pipe'] as const;
    const child = spawn(command, args, { cwd: root, stdio: [...stdio], env: { ...process.env, ...env } });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    }
    child.on('error', (error) => resolve({ output: error.message, code: 127 }));
    child.on('close', (code) => resolve({ output, code: code ?? 1 }));
  });
}

/** As `run`, but throws an Error that carries the output when the command fails. Resolves with the output. */
export async function must(command: string, args: readonly string[], env?: NodeJS.ProcessEnv): Promise<string> {
  const { output, code } = await run(command, args, env);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed with ${code}:\n${output.trim()}`);
  return output;
}

/** Installs Debian packages, with a fresh package list when the one at hand does not know them. */
export async function aptInstall(...packages: readonly string[]): Promise<void> {
  const install = ['install', '--yes', '--no-install-recommends', ...packages];
  if (process.getuid?.() !== 0) throw new Error(`needs root: apt-get ${install.join(' ')}`);
  const quiet = { DEBIAN_FRONTEND: 'noninteractive' };
  if ((await run('apt-get', install, quiet)).code === 0) return;
  await must('apt-get', ['update'], quiet);
  await must('apt-get', install, quiet);
}
