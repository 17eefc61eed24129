/** The one place where the commands read the environment. */

import { type Environment, readEnvironment } from '../config/environment.ts';

/** As it was given to us, for what we start. */
export const inherited: Readonly<NodeJS.ProcessEnv> = process.env;

/** What the sidecar would take from it, with `--runtime-path` in its place. */
export function environment(runtimePath?: string): Environment {
  return readEnvironment(variables(runtimePath));
}

/** The inherited variables with `--runtime-path` among them. */
export function variables(runtimePath: string | undefined): Readonly<NodeJS.ProcessEnv> {
  return runtimePath === undefined ? inherited : { ...inherited, DAPR_RUNTIME_PATH: runtimePath };
}

/** The token that the sidecar's API wants, empty when there is none. */
export const apiToken = (given?: string): string => given ?? inherited['DAPR_API_TOKEN'] ?? '';

/** Takes the colours off everything that is printed from now on. */
export function withoutColours(): void {
  delete process.env['FORCE_COLOR'];
  process.env['NO_COLOR'] = '1';
}
