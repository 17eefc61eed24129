/** The sidecar as a process, and the app beside it, for inputs that come over the wire. */

import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../test/_support/until.ts';
import { isAccidentText } from './target.ts';

const ENTRY = new URL('../src/daprd.ts', import.meta.url).pathname;
const COMPONENT = `apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: pubsub
spec:
  type: pubsub.in-memory
  version: v1
`;

export interface FuzzedSidecar {
  readonly httpPort: number;
  readonly grpcPort: number;
  /** What is wrong with the process, as far as it shows: it ended, or its log has what nobody meant. */
  fault(): string | undefined;
  close(): Promise<void>;
}

export async function startFuzzed(appPort: number, protocol: 'http' | 'grpc'): Promise<FuzzedSidecar> {
  const directory = await mkdtemp(join(tmpdir(), 'fuzz-'));
  await writeFile(join(directory, 'pubsub.yaml'), COMPONENT);
  const ports = ['--dapr-http-port', '0', '--dapr-grpc-port', '0', '--metrics-port', '0'];
  const app = ['--app-port', String(appPort), '--app-protocol', protocol];
  const child = spawn(process.execPath, [ENTRY, '--app-id', 'app', '--resources-path', directory, ...ports, ...app], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: directory },
  });
  let lines = '';
  let fault: string | undefined;
  const read = (chunk: string): void => {
    lines = (lines + chunk).slice(-8000);
    const bad = chunk
      .split('\n')
      .find((line) => isAccidentText(line) || /retriable error returned from app|unexpected error/.test(line));
    if (bad !== undefined) fault ??= bad.slice(0, 2000);
  };
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', read);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const portOf = (what: string): number =>
    Number(new RegExp(`${what} server is running on port (\\d+)`).exec(lines)?.[1] ?? 0);
  await until(() => /dapr initialized/.test(lines), 'the sidecar is ready', 20_000);
  return {
    httpPort: portOf('HTTP'),
    grpcPort: portOf('API gRPC'),
    fault: () => {
      if (child.exitCode !== null) return `the sidecar ended with ${child.exitCode}: ${lines.slice(-1500)}`;
      const told = fault;
      fault = undefined;
      return told;
    },
    close: async () => {
      child.kill('SIGKILL');
      await exited;
      await rm(directory, { recursive: true, maxRetries: 5 });
    },
  };
}
