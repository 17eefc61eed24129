/** Connections to a server, to the master that Sentinels name, or to a cluster. None of them connects again by itself. */

import { Cluster, Command, Redis, type RedisOptions } from 'ioredis';
import type { ConnectionOptions } from 'node:tls';
import type { Address } from './addresses.ts';
import type { RedisSettings } from './settings.ts';

export type Client = Redis | Cluster;

const LOADING_POLL_MS = 250;

/** Connects for commands. Rejects with what the server or the network said, or soon after `signal` aborts. */
export async function connect(settings: RedisSettings, name: string, signal: AbortSignal): Promise<Client> {
  if (!isCluster(settings)) return establish(serverClient(settings, name), signal);
  const cluster = new Cluster([...settings.hosts], {
    redisOptions: { ...sharedOptions(settings, name), maxRetriesPerRequest: 0 },
    lazyConnect: true,
    enableOfflineQueue: true, // nodes connect when they are first used; what waits for one that cannot fails
    clusterRetryStrategy: () => null,
    retryDelayOnFailover: 0, // it would send again what may have been done
  });
  return establish(cluster, signal);
}

/** Connects for blocking reads of `topic`, on a cluster to the node that has it. */
export async function connectReader(
  settings: RedisSettings,
  name: string,
  client: Client,
  topic: string,
): Promise<Redis> {
  if (!(client instanceof Cluster)) return establish(serverClient(settings, name));
  const master = client.slots[slotOf(topic)]?.[0];
  if (master === undefined) throw new Error(`no node of the cluster has topic ${topic}`);
  const colon = master.lastIndexOf(':');
  const address = { host: master.slice(0, colon), port: Number(master.slice(colon + 1)) };
  return establish(new Redis({ ...sharedOptions(settings, name), ...ALONE, ...address }));
}

/** The client's connection to the server that `reader` is connected to. */
export function besideReader(client: Client, { options }: Redis): Redis {
  if (!(client instanceof Cluster)) return client;
  const beside = client
    .nodes()
    .find((node) => node.options.host === options.host && node.options.port === options.port);
  if (!beside) throw new Error('the cluster has no such node any more');
  return beside;
}

/**
 * The cluster's connection to the node that has `topic`, as far as the client knows, or as it finds out `afresh`.
 * Rejects when no node says that it has it.
 */
export async function nodeOf(cluster: Cluster, topic: string, how: 'known' | 'afresh' = 'known'): Promise<Redis> {
  const known = (): Redis | undefined => {
    const master = cluster.slots[slotOf(topic)]?.[0];
    return cluster
      .nodes('master')
      .find(({ options, status }) => status === 'ready' && `${options.host}:${options.port}` === master);
  };
  if (how === 'afresh' || !known()) await cluster.call('xlen', [topic]); // connects, and follows where it is sent
  const node = known();
  if (!node) throw new Error(`no node of the cluster has topic ${topic}`);
  return node;
}

/** Topics with the same number can be read with one command. */
export const shardOf = (settings: RedisSettings, topic: string): number => (isCluster(settings) ? slotOf(topic) : 0);

/** Ends a connection at once, whatever it waits for. */
export function hangUp(client: Client): void {
  client.disconnect();
  if (client instanceof Redis) client.stream?.destroy();
}

const isCluster = ({ redisType, failover }: RedisSettings): boolean => /^cluster$/i.test(redisType) && !failover;

const slotOf = (topic: string): number => new Command('xlen', [topic]).getSlot();

/** A client that neither queues nor connects again nor resends: what may have been done is for us to decide. */
const ALONE = {
  lazyConnect: true,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  retryStrategy: () => null,
} satisfies RedisOptions;

function serverClient(settings: RedisSettings, name: string): Redis {
  const options = { ...sharedOptions(settings, name), ...ALONE, db: settings.redisDB };
  const { hosts, failover, sentinelMasterName, sentinelUsername, sentinelPassword, dialTimeout } = settings;
  if (!failover) return new Redis({ ...options, ...(hosts[0] as Address) });
  return new Redis({
    ...options,
    sentinels: [...hosts],
    name: sentinelMasterName,
    ...(sentinelUsername && { sentinelUsername }),
    ...(sentinelPassword && { sentinelPassword }),
    ...(settings.enableTLS && { sentinelTLS: tlsOptions(settings), enableTLSForSentinelMode: true }),
    sentinelRetryStrategy: () => null,
    sentinelCommandTimeout: dialTimeout,
  });
}

function sharedOptions(settings: RedisSettings, name: string) {
  return {
    protocol: 2,
    reconnectOnError: ({ message }: Error) => message.startsWith('READONLY'),
    maxLoadingRetryTime: LOADING_POLL_MS,
    connectTimeout: settings.dialTimeout,
    socketTimeout: settings.readTimeout,
    connectionName: name,
    ...(settings.redisUsername && { username: settings.redisUsername }),
    ...(settings.redisPassword && { password: settings.redisPassword }),
    ...(settings.enableTLS && { tls: tlsOptions(settings) }),
  } satisfies RedisOptions;
}

function tlsOptions({ insecureSkipTLSVerify, caCert, clientCert, clientKey }: RedisSettings): ConnectionOptions {
  return {
    rejectUnauthorized: !insecureSkipTLSVerify,
    ...(caCert && { ca: caCert }),
    ...(clientCert && clientKey && { cert: clientCert, key: clientKey }),
  };
}

/** Resolves when commands can be sent. An error on the way there (a database that does not exist) fails it too. */
async function establish<C extends Client>(client: C, signal?: AbortSignal): Promise<C> {
  const giveUp = (): void => hangUp(client);
  signal?.addEventListener('abort', giveUp);
  let reason: Error | undefined;
  client.on('error', (error: Error & { lastNodeError?: Error }) => (reason ??= error.lastNodeError ?? error));
  const { promise: ended, reject: onEnd } = Promise.withResolvers<never>();
  client.once('end', () => onEnd(new Error('the connection was closed')));
  try {
    // A cluster whose node refuses to say how it is ends, and its promise does not settle.
    await Promise.race([client.connect(), ended]);
    if (reason) throw reason;
    return client;
  } catch (error) {
    client.disconnect();
    throw reason ?? error;
  } finally {
    signal?.removeEventListener('abort', giveUp);
  }
}
