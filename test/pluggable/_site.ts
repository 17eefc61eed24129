/** What the tests of pluggable brokers stand on: a folder of sockets, a component on one of them, sidecars. */

import { fork } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { componentFile, startDaprd, temporaryDirectory, type Daprd, type DaprdOptions } from '../_support/daprd.ts';
import { startHttpApp, type HttpApp, type HttpAppOptions } from '../_support/http-app.ts';
import { Plugin, type PluginEvent, type PluginOptions } from '../_support/plugin.ts';
import { until } from '../_support/until.ts';

export interface Site {
  readonly directory: string;
  readonly sockets: string;
  readonly socket: string;
  plugin(options?: Partial<PluginOptions>): Promise<Plugin>;
  daprd(options?: DaprdOptions): Promise<Daprd>;
}

export const COMPONENT = componentFile('pubsub.my-broker', { colour: 'green' });

export async function site(t: ExecutionContext): Promise<Site> {
  const directory = await temporaryDirectory(t);
  const sockets = join(directory, 'sockets');
  await mkdir(sockets);
  const socket = join(sockets, 'my-broker.sock');
  return {
    directory,
    sockets,
    socket,
    plugin: async (options) => {
      const plugin = await Plugin.start({ socket, ...options });
      t.teardown(() => plugin.stop());
      return plugin;
    },
    daprd: (options = {}) =>
      startDaprd(t, {
        directory,
        resources: { 'pubsub.yaml': COMPONENT },
        ...options,
        env: { DAPR_COMPONENTS_SOCKETS_FOLDER: sockets, ...options.env },
      }),
  };
}

export const sub = (topic: string, more: object = {}): object => ({
  pubsubname: 'pubsub',
  topic,
  route: `/${topic}`,
  ...more,
});

export async function app(t: ExecutionContext, options: HttpAppOptions): Promise<HttpApp> {
  const started = await startHttpApp(options);
  t.teardown(() => started.close());
  return started;
}

export interface PluginProcess {
  readonly events: readonly PluginEvent[];
  kill(): Promise<void>;
}

/** Starts a component as a process of its own; ends with the test. */
export async function pluginProcess(t: ExecutionContext, options: Partial<PluginOptions>): Promise<PluginProcess> {
  const events: PluginEvent[] = [];
  const entry = join(import.meta.dirname, '../_support/plugin-process.ts');
  const child = fork(entry, [JSON.stringify(options)], { execArgv: [] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = (): Promise<void> => {
    child.kill('SIGKILL');
    return exited;
  };
  t.teardown(kill);
  let started = false;
  child.on('message', (event: PluginEvent | { kind: 'started' }) => {
    if (event.kind === 'started') started = true;
    else events.push(event);
  });
  await until(() => started, 'the component listens');
  return { events, kill };
}

/** The components that a sidecar lists. */
export async function components({
  http,
}: Pick<Daprd, 'http'>): Promise<{ name: string; type: string; capabilities?: string[] }[]> {
  const metadata = (await (await fetch(`${http}/v1.0/metadata`)).json()) as { components?: [] };
  return metadata.components ?? [];
}
