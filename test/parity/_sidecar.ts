/**
 * A sidecar started as public suites start one: the launcher, every flag as `--name=value`, no standard input, where
 * variables are given no others, ready at 204, ended by SIGINT with exit code 0.
 */

import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { credentials, Metadata, type Client, type ServiceError } from '@grpc/grpc-js';
import type { ExecutionContext } from 'ava';
import { DaprClient } from '../../gen/dapr/proto/runtime/v1/dapr.ts';
import { Semaphore } from '../../src/lib/semaphore.ts';
import { temporaryDirectory } from '../_support/daprd.ts';
import { freePorts } from '../_support/ports.ts';
import { until } from '../_support/until.ts';

const LAUNCHER = join(import.meta.dirname, '../../bin/daprd');
const NODE = join(import.meta.dirname, '../../node_modules/node/bin');

export interface SidecarOptions {
  readonly appId?: string;
  readonly appPort?: number;
  readonly protocol?: 'http' | 'grpc';
  /** Files of the resources directory: a text as it is, anything else as JSON, which is YAML; a list as documents. */
  readonly resources?: Readonly<Record<string, unknown>>;
  readonly args?: readonly string[];
  /** The whole environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Of a sidecar that is to fail, only the process is waited for. */
  readonly ready?: boolean;
}

export type SubscriptionFact = Readonly<Record<string, unknown>>;

export interface Sidecar {
  readonly http: string;
  readonly ports: Readonly<Record<'http' | 'grpc' | 'internal' | 'public' | 'metrics', number>>;
  readonly client: DaprClient;
  readonly resources: string;
  log(): string;
  signal(name: NodeJS.Signals): void;
  readonly exited: Promise<number | string>;
  stop(): Promise<number | string>;
  write(file: string, content: unknown): Promise<void>;
  remove(file: string): Promise<void>;
  metadata(): Promise<Readonly<Record<string, unknown>> & { readonly subscriptions?: readonly SubscriptionFact[] }>;
  /** Publishes over HTTP; resolves with the status. */
  publish(topic: string, body: unknown, more?: { type?: string; query?: string; pubsub?: string }): Promise<number>;
  /** Publishes over gRPC; resolves with the code. */
  publishGrpc(topic: string, data: string | Uint8Array, more?: PublishMore): Promise<number>;
  metrics(): Promise<string>;
}

export interface PublishMore {
  readonly type?: string;
  readonly pubsub?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export const memory = (name: string, more: Readonly<Record<string, string>> = {}, document: object = {}): object => ({
  apiVersion: 'dapr.io/v1alpha1',
  kind: 'Component',
  metadata: { name },
  spec: {
    type: 'pubsub.in-memory',
    version: 'v1',
    metadata: Object.entries(more).map(([n, value]) => ({ name: n, value })),
  },
  ...document,
});

export const configuration = (name: string, spec: object): object => ({
  apiVersion: 'dapr.io/v1alpha1',
  kind: 'Configuration',
  metadata: { name },
  spec,
});

/** A Subscription document; `spec` is that of its version, on the component `pubsub` unless it says otherwise. */
export const declared = (version: 'v1alpha1' | 'v2alpha1', name: string, spec: object, scopes?: string[]): object => ({
  apiVersion: `dapr.io/${version}`,
  kind: 'Subscription',
  metadata: { name },
  spec: { pubsubname: 'pubsub', ...spec },
  ...(scopes && { scopes }),
});

const textOf = (content: unknown): string =>
  typeof content === 'string'
    ? content
    : [content]
        .flat()
        .map((document) => JSON.stringify(document, null, 1))
        .join('\n---\n');

/** Starting takes a core for half a second: the tests of a file start theirs a few at a time, not all at once. */
const starts = new Semaphore(3);

/** Starts one and ends it with the test, whatever happens. */
export async function startSidecar(t: ExecutionContext, options: SidecarOptions = {}): Promise<Sidecar> {
  await starts.acquire();
  return launch(t, options).finally(() => starts.release());
}

/** The same with Configuration files outside of its resources. */
export async function configured(
  t: ExecutionContext,
  documents: readonly object[],
  options: SidecarOptions = {},
): Promise<{ sidecar: Sidecar; files: readonly string[] }> {
  const directory = await temporaryDirectory(t);
  const files = documents.map((_, i) => join(directory, `config${i}.yaml`));
  for (const [i, document] of documents.entries()) await writeFile(files[i] as string, JSON.stringify(document));
  const args = [...files.map((file) => `--config=${file}`), ...(options.args ?? [])];
  return { sidecar: await startSidecar(t, { ...options, args }), files };
}

async function launch(t: ExecutionContext, options: SidecarOptions): Promise<Sidecar> {
  const directory = await temporaryDirectory(t);
  const resources = join(directory, 'resources');
  await mkdir(resources);
  const write = (file: string, content: unknown): Promise<void> => writeFile(join(resources, file), textOf(content));
  for (const [file, content] of Object.entries(options.resources ?? { 'pubsub.yaml': memory('pubsub') })) {
    await write(file, content);
  }
  const [http, grpc, internal, open, metrics, profile] = (await freePorts(6)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const child = spawn(
    LAUNCHER,
    defaultArguments(options, { http, grpc, internal, open, metrics, profile }, resources),
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: options.env ?? { ...process.env, HOME: directory, PATH: `${NODE}:${process.env['PATH']}` },
    },
  );
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const exited = new Promise<number | string>((resolve) =>
    child.once('close', (code, name) => resolve(code ?? name ?? '')),
  );
  const client = new DaprClient(`127.0.0.1:${grpc}`, credentials.createInsecure());
  t.teardown(async () => {
    client.close();
    child.kill('SIGKILL');
    await exited;
    if (!t.passed) t.log(output.slice(-5000));
  });
  const url = `http://127.0.0.1:${http}`;
  const healthz = (): Promise<boolean> =>
    fetch(`${url}/v1.0/healthz`).then(
      ({ status }) => status === 204,
      () => false,
    );
  if (options.ready ?? true)
    await until(async () => child.exitCode !== null || (await healthz()), 'it is healthy', 60_000);
  const publish: Sidecar['publish'] = async (topic, body, { type, query = '', pubsub = 'pubsub' } = {}) => {
    const headers = type === undefined ? {} : { 'content-type': type };
    const data = typeof body === 'string' ? Buffer.from(body) : JSON.stringify(body);
    const to = `${url}/v1.0/publish/${encodeURIComponent(pubsub)}/${topic}${query && `?${query}`}`;
    return (await fetch(to, { method: 'POST', headers, body: data })).status;
  };
  return {
    http: url,
    ports: { http, grpc, internal, public: open, metrics },
    client,
    resources,
    log: () => output,
    signal: (name) => void child.kill(name),
    exited,
    stop: () => {
      child.kill('SIGINT');
      return exited;
    },
    write,
    remove: (file) => rm(join(resources, file)),
    metadata: async () => (await fetch(`${url}/v1.0/metadata`)).json() as ReturnType<Sidecar['metadata']>,
    publish,
    publishGrpc: (topic, data, more = {}) => codeOf(client, topic, data, more),
    metrics: async () => (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text(),
  };
}

type Ports = Readonly<Record<'http' | 'grpc' | 'internal' | 'open' | 'metrics' | 'profile', number>>;

function defaultArguments(options: SidecarOptions, ports: Ports, resources: string): string[] {
  const { appId = 'app', appPort, protocol = 'http', args = [] } = options;
  return [
    ...['--log-level=debug', `--app-id=${appId}`, `--app-protocol=${protocol}`],
    ...[
      `--dapr-grpc-port=${ports.grpc}`,
      `--dapr-http-port=${ports.http}`,
      `--dapr-internal-grpc-port=${ports.internal}`,
    ],
    ...['--dapr-internal-grpc-listen-address=127.0.0.1', '--dapr-listen-addresses=127.0.0.1'],
    ...[`--dapr-public-port=${ports.open}`, '--dapr-public-listen-address=127.0.0.1'],
    ...[`--metrics-port=${ports.metrics}`, '--metrics-listen-address=127.0.0.1', `--profile-port=${ports.profile}`],
    ...['--enable-app-health-check=false', '--app-health-probe-interval=0', '--app-health-threshold=0'],
    ...['--mode=standalone', '--enable-mtls=false', '--enable-api-logging=true', '--enable-profiling'],
    ...(appPort === undefined ? [] : [`--app-port=${appPort}`]),
    ...[`--resources-path=${resources}`, ...args],
  ];
}

/** One unary call; rejects with the error of gRPC. */
export function call<Response>(
  client: Client,
  method: string,
  request: object,
  headers: object = {},
): Promise<Response> {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value as string);
  type Call = (
    request: object,
    metadata: Metadata,
    done: (error: ServiceError | null, response: Response) => void,
  ) => void;
  return new Promise((resolve, reject) => {
    (client as never as Record<string, Call>)[method]?.(request, metadata, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

async function codeOf(
  client: DaprClient,
  topic: string,
  data: string | Uint8Array,
  more: PublishMore,
): Promise<number> {
  const { type = '', pubsub = 'pubsub', metadata = {}, headers = {} } = more;
  const request = { pubsubName: pubsub, topic, data: Buffer.from(data as string), dataContentType: type, metadata };
  return call(client, 'publishEvent', request, headers).then(
    () => 0,
    (error: ServiceError) => error.code,
  );
}
