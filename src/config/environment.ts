/** What the sidecar takes from its environment. */

import { homedir } from 'node:os';
import path from 'node:path';
import { parseGoDuration } from '../lib/duration.ts';

/** The variables of a process; unset ones may be undefined. */
export type Variables = Readonly<Record<string, string | undefined>>;

export interface Environment {
  /** `NAMESPACE`, empty when not set. */
  readonly namespace: string;
  /** `POD_NAME`, empty when not set. */
  readonly podName: string;
  /** `DAPR_HOST_IP`, empty when not set. */
  readonly hostIp: string;
  /** What callers must send, empty: nothing. */
  readonly apiToken: string;
  /** What the app gets with every call, empty: nothing. */
  readonly appApiToken: string;
  /** Name of the header that has it, lower case. */
  readonly appApiTokenHeader: string;
  /** Absolute path of the Dapr home directory. It may not exist. */
  readonly home: string;
  /** The only variables components may refer to, upper case. Empty: all that are not denied. */
  readonly envKeys: readonly string[];
  /** Folder with the sockets of pluggable components. */
  readonly componentsSocketsFolder: string;
  /** Whether the HTTP API serves HTTP/1.1 only. */
  readonly disableH2c: boolean;
  /** How long the connection to an app over gRPC lasts without calls, milliseconds. */
  readonly grpcIdleMs: number;
  /** Any other variable. A function, so that no log or dump of this object shows the environment. */
  readonly variable: (name: string) => string | undefined;
}

const GRPC_IDLE_MS = 3 * 60_000;

/** Works with an empty environment too. */
export function readEnvironment(variables: Variables): Environment {
  const variable = (name: string): string | undefined => (Object.hasOwn(variables, name) ? variables[name] : undefined);
  const value = (name: string): string => variable(name) ?? '';
  return {
    namespace: value('NAMESPACE'),
    podName: value('POD_NAME'),
    hostIp: value('DAPR_HOST_IP'),
    apiToken: value('DAPR_API_TOKEN'),
    appApiToken: value('APP_API_TOKEN'),
    appApiTokenHeader: value('DAPR_APP_API_TOKEN_HEADER').trim().toLowerCase() || 'dapr-api-token',
    home: path.resolve(value('DAPR_RUNTIME_PATH') || value('HOME') || accountHome(), '.dapr'),
    envKeys: value('DAPR_ENV_KEYS').toUpperCase().split(/\s+/).filter(Boolean),
    componentsSocketsFolder: value('DAPR_COMPONENTS_SOCKETS_FOLDER') || '/tmp/dapr-components-sockets',
    grpcIdleMs: Math.max(parseGoDuration(value('DAPR_GRPC_MAX_CONN_IDLE')) ?? 0, 0) || GRPC_IDLE_MS,
    disableH2c: /^(1|true|y|yes|on)$/i.test(value('DAPR_HTTP_DISABLE_H2C')),
    variable,
  };
}

/** The working directory for a user without an account, as containers have them. */
function accountHome(): string {
  try {
    return homedir();
  } catch {
    return '.';
  }
}
