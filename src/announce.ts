/** What the `dapr` commands are told of this process. */

import { resolve } from 'node:path';
import type { DaprdOptions } from './config/flags.ts';
import { messageOf } from './core/errors.ts';
import type { Log } from './lib/log.ts';
import { register, type Instance, type Registration } from './lib/registry.ts';
import type { Servers } from './servers.ts';

/** So that `dapr list` and `dapr publish` find this process. A home that cannot be written costs only that. */
export function announce(options: DaprdOptions, servers: Servers, version: string, log: Log): Registration | undefined {
  try {
    return register(options.environment.home, instanceOf(options, servers, version));
  } catch (error) {
    log.warn(`this sidecar will not be listed: ${messageOf(error)}`);
    return undefined;
  }
}

function instanceOf(options: DaprdOptions, servers: Servers, version: string): Instance {
  const { httpPort, grpcPort, metricsPort } = servers;
  return {
    appId: options.appId,
    pid: process.pid,
    startedAt: new Date().toISOString(),
    httpHost: options.listenAddresses[0] ?? '127.0.0.1',
    httpPort,
    grpcPort,
    metricsPort,
    ...(options.unixDomainSocket && { socketDirectory: resolve(options.unixDomainSocket) }),
    appPort: options.appPort,
    appProtocol: options.appProtocol,
    resourcesPaths: options.resourcesPaths.map((path) => resolve(path)),
    version,
    cliPid: process.connected ? process.ppid : 0,
    appPid: 0,
    command: '',
  };
}
