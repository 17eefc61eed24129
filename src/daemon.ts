/** What daprd does with its arguments: runs the sidecar until it ends, or answers and is done. */

import { flushCompileCache } from 'node:module';
import { serialize, setFlagsFromString } from 'node:v8';
import {
  parseDaprdFlags,
  StartupError,
  usage,
  UsageError,
  type DaprdCommand,
  type DaprdOptions,
} from './config/flags.ts';
import { messageOf } from './core/errors.ts';
import type { Log } from './lib/log.ts';
import { packageVersion } from './lib/package-root.ts';
import { reporter as reporterOf } from './lib/report.ts';
import { createLogger } from './observe/logger.ts';
import { Sidecar, type SidecarDeps } from './sidecar.ts';

const VERSION = packageVersion();
const ENGINE_FLAGS = ['--heap-growing-percent=150', '--no-maglev', '--invocation-count-for-turbofan=500'];

/** Runs the command and returns its exit code. */
export async function main(argv: readonly string[], variables: NodeJS.ProcessEnv): Promise<number> {
  let command: DaprdCommand;
  try {
    command = parseDaprdFlags(argv, variables);
  } catch (error) {
    if (error instanceof StartupError) return failToStart(error.message);
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n\nRun daprd --help for the flags.\n`);
    return 2;
  }
  switch (command.kind) {
    case 'help':
      process.stdout.write(usage());
      return 0;
    case 'version':
      process.stdout.write(`${VERSION}\n`);
      return 0;
    case 'build-info':
      process.stdout.write(`Version: ${VERSION}\nGit Commit: unknown\nGit Version: v${VERSION}\n`);
      return 0;
    case 'wait':
      await waitUntilReady(command.options.httpPort.port);
      return 0;
    default:
      return run(command.options);
  }
}

/** For who reads the log alone, as a start that fails later. What the flags say of the log cannot be told from wrong ones. */
async function failToStart(reason: string): Promise<number> {
  const log = createLogger({ level: 'info', json: false, file: '', appId: '', version: VERSION });
  log.fatal(`Fatal error from runtime: ${reason}`);
  await log.written();
  return 1;
}

const WAIT_MS = 60_000;
const WAIT_POLL_MS = 100;

/** Gives up after a while; as in Dapr that is no failure. */
async function waitUntilReady(port: number): Promise<void> {
  const deadline = performance.now() + WAIT_MS;
  while (performance.now() < deadline) {
    const response = await fetch(`http://127.0.0.1:${port}/v1.0/healthz/outbound`).catch(() => undefined);
    if (response?.status === 204) return;
    await new Promise((resolve) => setTimeout(resolve, WAIT_POLL_MS));
  }
  process.stderr.write(`the sidecar on port ${port} was not ready within ${WAIT_MS / 1000} s\n`);
}

async function run(options: DaprdOptions): Promise<number> {
  const log = createLogger({ ...options.log, appId: options.appId, version: VERSION });
  const reporter = reporterOf(process);
  const exit = (code: number): void => process.exit(code);
  log.info(`Starting Dapr Runtime -- version ${VERSION} -- commit unknown`);
  log.info(`Log level set to: ${options.log.level}`);
  log.info(`${options.mode} mode configured`);
  log.info(`app id: ${options.appId}`);
  for (const warning of options.warnings) log.warn(warning);
  if (options.ignored.length > 0) log.debug(`flags without effect here: ${options.ignored.join(', ')}`);
  goOnAfterErrors(log);
  const code = await runSidecars({ options, version: VERSION, log, reporter, exit });
  await log.written();
  return code;
}

/** One after the other, until one is not to be followed by another. Resolves with the exit code. */
async function runSidecars(deps: SidecarDeps): Promise<number> {
  const { log, reporter } = deps;
  const signals = new Signals(log);
  for (;;) {
    const sidecar = new Sidecar(deps);
    signals.sidecar = sidecar;
    try {
      await sidecar.start();
      tuneEngine();
    } catch (error) {
      if (!sidecar.isStopping) {
        log.fatal(`Fatal error from runtime: ${messageOf(error)}`);
        reporter.send({ type: 'failed', message: messageOf(error) });
        await sidecar.close(AbortSignal.abort()).catch(() => undefined);
        return 1;
      }
      log.info(`The start was given up: ${messageOf(error)}`);
    }
    const code = await sidecar.ended;
    if (!signals.takeRestart()) return code;
  }
}

/**
 * Fits the engine to a process whose hot code is small and whose garbage is short-lived. The old generation is collected
 * when it is two and a half times what was left; V8 would let it grow fourfold. Hot functions go to the optimizing
 * compiler sooner, and not through the middle one, which compiled most of them only to be replaced. Not as flags of the
 * command: code is taken from the caches, also that of Node itself, only under the flags it was made with, so the cache
 * is written first and the flags are set when everything is loaded. Measured in docs/decisions/0016.
 */
function tuneEngine(): void {
  flushCompileCache();
  // The first buffer that Node makes outside of the engine, such as that of the first HTTP/2 ping after ten seconds,
  // takes a simplification of all typed arrays away, and all hot code is compiled anew: 80 ms of slow answers.
  serialize(undefined);
  for (const flag of ENGINE_FLAGS) setFlagsFromString(flag);
}

/** Nothing that somebody sends may end the sidecar. What was in hand is not settled, so it comes again. */
function goOnAfterErrors(log: Log): void {
  const tell = (error: unknown): void => {
    log.error(`unexpected error, going on: ${error instanceof Error ? error.stack : messageOf(error)}`);
  };
  process.on('uncaughtException', tell);
  process.on('unhandledRejection', tell);
}

/** What the process's signals mean: the first interrupt drains, the second ends at once, a hangup reads everything anew. */
class Signals {
  sidecar: Sidecar | undefined;
  private readonly log: Log;
  private stopping = false;
  private restarting = false;

  constructor(log: Log) {
    this.log = log;
    process.on('SIGINT', () => this.stop('interrupt'));
    process.on('SIGTERM', () => this.stop('terminated'));
    process.on('SIGHUP', () => this.restart());
  }

  /** Whether the sidecar that ended is to be followed by another. */
  takeRestart(): boolean {
    const restart = this.restarting && !this.stopping;
    this.restarting = false;
    return restart;
  }

  private stop(name: string): void {
    if (this.stopping) {
      this.log.warn(`Received signal '${name}' during shutdown; exiting immediately`);
      process.exit(1);
    }
    this.stopping = true;
    this.log.info(`Received signal '${name}'; beginning shutdown`);
    void this.sidecar?.stop('signal');
  }

  private restart(): void {
    if (this.stopping || this.restarting) return;
    this.restarting = true;
    this.log.info('Received signal hangup; reloading everything');
    void this.sidecar?.stop('reload');
  }
}
