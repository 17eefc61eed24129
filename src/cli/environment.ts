/** The one place where the commands read the environment. */

import { type Environment, readEnvironment } from '../config/environment.ts';
import { usage } from './failure.ts';

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

/** The token that the sidecar's API wants, empty when there is none. Throws a usage failure for what cannot be sent. */
export function apiToken(given?: string): string {
  const token = given ?? inherited['DAPR_API_TOKEN'] ?? '';
  if (/[^\x20-\x7e]/.test(token)) throw usage('the API token has what no header can carry, such as the end of a line');
  return token;
}

/** Takes the colours off everything that is printed from now on. */
export function withoutColours(): void {
  delete process.env['FORCE_COLOR'];
  process.env['NO_COLOR'] = '1';
}
