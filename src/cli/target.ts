/** Which sidecar a command speaks to, of those that run here or that the flags name. */

import { readdirSync } from 'node:fs';
import { socketPath } from '../lib/listen.ts';
import { type Instance, instances } from '../lib/registry.ts';
import { Exit, Failure, usage } from './failure.ts';
import {
  type Address,
  addressOf,
  hostAddress,
  type Loaded,
  loadedBy,
  socketAddress,
  urlAddress,
} from './sidecar-api.ts';

export interface Target {
  readonly address: Address;
  /** Empty when the address was given and nobody was asked. */
  readonly appId: string;
  readonly pubsub: string;
}

export interface Wish {
  readonly home: string;
  /** Empty: the only one there is. */
  readonly pubsub: string;
  readonly appId: string | undefined;
  /** App id, URL or socket. */
  readonly sidecar: string | undefined;
  /** Directory of sockets. */
  readonly sockets: string | undefined;
  readonly token: string;
}

const METADATA_TIMEOUT_MS = 3000;

/** A sidecar that can be asked. */
export type Found = Omit<Target, 'pubsub'>;

/** All that the wish fits, oldest first. Throws a Failure where an app was named and does not run. */
export function sidecarsOf(wish: Pick<Wish, 'home' | 'appId' | 'sidecar' | 'sockets'>): Found[] {
  const given = givenAddress(wish);
  if (given) return [{ address: given, appId: '' }];
  return instancesOf(wish).map((instance) => ({ address: addressOf(instance), appId: instance.appId }));
}

function instancesOf({ home, appId: id, sidecar }: Pick<Wish, 'home' | 'appId' | 'sidecar'>): Instance[] {
  const running = instances(home);
  const appId = id ?? sidecar;
  const found = appId === undefined ? running : running.filter((one) => one.appId === appId);
  if (appId !== undefined && found.length === 0) throw noSuchApp(appId, running);
  return found;
}

/** The sidecar to publish through; undefined when none runs. Rejects when the wish cannot be met. */
export async function chooseTarget(wish: Wish): Promise<Target | undefined> {
  const given = givenAddress(wish);
  if (given) return { address: given, appId: '', pubsub: wish.pubsub || onlyPubsub([await load(given, wish.token)]) };
  const candidates = instancesOf(wish);
  const [only] = candidates;
  if (only === undefined) return undefined;
  const isOnly = candidates.length === 1 || (wish.appId ?? wish.sidecar) !== undefined;
  if (isOnly && wish.pubsub !== '') return { address: addressOf(only), appId: only.appId, pubsub: wish.pubsub };
  return chooseByComponent(candidates, wish);
}

/** Of several, one that has the component; better one without an app, since it is there to publish; else the oldest. */
async function chooseByComponent(candidates: readonly Instance[], { pubsub, token }: Wish): Promise<Target> {
  const asked = await Promise.all(
    candidates.map(async (instance) => ({
      instance,
      loaded: await loadedBy(addressOf(instance), token, METADATA_TIMEOUT_MS).catch((error: Failure) => error),
    })),
  );
  const answers = asked.flatMap(({ instance, loaded }) => (loaded instanceof Error ? [] : [{ instance, loaded }]));
  if (answers.length === 0) throw asked.map(({ loaded }) => loaded).find((one) => one instanceof Error);
  const name = pubsub || onlyPubsub(answers.map(({ loaded }) => loaded));
  const able = answers.filter(({ loaded }) => loaded.pubsubs.includes(name)).map(({ instance }) => instance);
  const chosen = able.find(({ appPort }) => appPort === 0) ?? able[0];
  if (chosen === undefined) throw noneHas(name, answers);
  return { address: addressOf(chosen), appId: chosen.appId, pubsub: name };
}

const load = (address: Address, token: string): Promise<Loaded> => loadedBy(address, token, METADATA_TIMEOUT_MS);

function onlyPubsub(loaded: readonly Loaded[]): string {
  const names = [...new Set(loaded.flatMap(({ pubsubs }) => pubsubs))];
  if (names.length === 1) return names[0] as string;
  throw usage(
    names.length === 0 ? 'no pub/sub component is loaded' : 'which pub/sub component?',
    ...names.map((name) => `--pubsub ${name}`),
  );
}

/** The address that the flags spell out, if they do. */
function givenAddress({ sidecar, sockets, appId }: Pick<Wish, 'appId' | 'sidecar' | 'sockets'>): Address | undefined {
  if (sockets !== undefined)
    return socketAddress(appId === undefined ? onlySocket(sockets) : socketPath(sockets, appId, 'http'));
  if (sidecar === undefined) return undefined;
  const isUrl = /^https?:\/\//.test(sidecar);
  const [, host, port] = /^([^/]+):(\d+)$/.exec(sidecar) ?? [];
  if (isUrl ? !URL.canParse(sidecar) : Number(port ?? 0) > 65_535) {
    throw usage(`--sidecar wants an app id, a URL or a socket, not "${sidecar}"`);
  }
  if (isUrl) return urlAddress(sidecar);
  if (host !== undefined) return hostAddress(host.replace(/^\[|\]$/g, ''), Number(port));
  return /^[./]/.test(sidecar) ? socketAddress(sidecar) : undefined;
}

function onlySocket(directory: string): string {
  const names = socketNames(directory);
  const [only] = names;
  if (names.length === 1) return `${directory}/${only}`;
  if (only === undefined)
    throw new Failure(`no sidecar has a socket in ${directory}`, { exit: Exit.notFound, code: 'NO_INSTANCE' });
  throw usage(
    `several sidecars have sockets in ${directory}`,
    ...names.map((name) => `--sidecar ${directory}/${name}`),
  );
}

function socketNames(directory: string): string[] {
  try {
    return readdirSync(directory).filter((name) => /^dapr-.*-http\.socket$/.test(name));
  } catch {
    return [];
  }
}

function noSuchApp(appId: string, running: readonly Instance[]): Failure {
  const names = running.map((one) => one.appId).join(', ');
  return new Failure(`no sidecar of the app "${appId}" runs`, {
    exit: Exit.notFound,
    code: 'NO_INSTANCE',
    why: names === '' ? 'none runs' : `running: ${names}`,
    next: [`dapr run --app-id ${appId}`],
  });
}

export function nothingRuns(...next: string[]): Failure {
  return new Failure('no sidecar runs', { exit: Exit.notFound, code: 'NO_INSTANCE', next });
}

function noneHas(name: string, answers: readonly { instance: Instance; loaded: Loaded }[]): Failure {
  const found = answers.map(
    ({ instance, loaded }) =>
      `${instance.appId} (:${instance.httpPort}) with components [${loaded.pubsubs.join(', ')}]`,
  );
  return new Failure(`no running sidecar has the pub/sub component "${name}"`, {
    exit: Exit.notFound,
    code: 'NO_INSTANCE',
    why: `found: ${found.join('\n')}`,
    next: [
      'dapr run --app-id pub --resources-path <directory that has it>',
      'or publish without a sidecar: add --direct',
    ],
  });
}
