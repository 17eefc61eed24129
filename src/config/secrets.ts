/** Where a component's settings come from when they are not written in its file (contract 11.3). */

import { messageOf } from '../core/errors.ts';
import type { Log } from '../lib/log.ts';
import { boolean, parseSettings, text } from '../lib/settings.ts';
import type { ComponentSetting, ComponentSpec } from './component.ts';
import type { Environment } from './environment.ts';
import { readText } from './yaml.ts';

export interface SecretStore {
  /** The keys and values of one secret. Rejects with an Error that names the secret and none of its values. */
  get(name: string): Promise<ReadonlyMap<string, string>>;
}

/** Secret stores by the name of their component. */
export type SecretStores = ReadonlyMap<string, SecretStore>;

type Opener = (settings: Readonly<Record<string, string>>, environment: Environment) => Promise<SecretStore>;

const OPENERS: Readonly<Record<string, Opener>> = {
  'secretstores.local.env': openEnvironmentStore,
  'secretstores.local.file': openFileStore,
};

export function isSecretStore(spec: ComponentSpec): boolean {
  return spec.type.startsWith('secretstores.');
}

/** Opens a secret store from settings that are resolved already. Rejects when there is no such type or it cannot start. */
export async function openSecretStore(
  spec: ComponentSpec,
  settings: Readonly<Record<string, string>>,
  environment: Environment,
): Promise<SecretStore> {
  const open = Object.hasOwn(OPENERS, spec.type) ? OPENERS[spec.type] : undefined;
  if (!open) throw new Error(`couldn't find secret store ${spec.type}/${spec.version}`);
  return open(settings, environment);
}

const ENVIRONMENT_STORE = { prefix: text({ default: '', description: 'Put before the name of every secret.' }) };

async function openEnvironmentStore(
  settings: Readonly<Record<string, string>>,
  environment: Environment,
): Promise<SecretStore> {
  const { prefix } = parseSettings(ENVIRONMENT_STORE, settings);
  return {
    get: async (name) => {
      const variable = prefix + name;
      if (!isHarmless(variable)) throw new Error(`env variable ${variable} isn't allowed`);
      const value = environment.variable(variable);
      if (value === undefined) throw new Error(`env variable ${variable} is not set`);
      return new Map([[name, value]]);
    },
  };
}

const FILE_STORE = {
  secretsFile: text({ default: '', description: 'Path of a JSON file with the secrets.' }),
  nestedSeparator: text({ default: ':', description: 'Stands between the keys of nested values.' }),
  multiValued: boolean({
    default: false,
    description: 'Whether a secret is a top-level key with all that is below it.',
  }),
};

async function openFileStore(settings: Readonly<Record<string, string>>): Promise<SecretStore> {
  const { secretsFile, nestedSeparator, multiValued } = parseSettings(FILE_STORE, settings);
  if (secretsFile === '') throw new Error('missing local secrets file in metadata');
  const flat = (value: unknown, name = ''): [string, string][] => {
    if (typeof value !== 'object' || value === null) return [[name, value === null ? '' : String(value)]];
    return Object.entries(value).flatMap(([key, one]) => flat(one, name === '' ? key : name + nestedSeparator + key));
  };
  const content = await readSecrets(secretsFile);
  const secrets = multiValued
    ? Object.entries(content).map(
        ([name, value]) => [name, flat(value, typeof value === 'object' ? '' : name)] as const,
      )
    : flat(content).map(([name, value]) => [name, [[name, value]]] as const);
  const byName = new Map(secrets.map(([name, values]) => [name, new Map(values)]));
  return {
    get: async (name) => {
      const found = byName.get(name);
      if (!found) throw new Error(`secret ${name} not found`);
      return found;
    },
  };
}

/** The parser's message would quote the file. */
async function readSecrets(file: string): Promise<object> {
  let content: unknown;
  try {
    content = JSON.parse(await readText(file));
  } catch (error) {
    throw new Error(`secrets file '${file}': ${error instanceof SyntaxError ? 'not JSON' : messageOf(error)}`);
  }
  if (typeof content !== 'object' || content === null) throw new Error(`secrets file '${file}': not a JSON object`);
  return content;
}

/** The sidecar's own secrets and switches are nobody's setting. */
function isHarmless(variable: string): boolean {
  const name = variable.toUpperCase();
  return name !== '' && name !== 'APP_API_TOKEN' && !name.startsWith('DAPR_') && !/\s/.test(name);
}

/**
 * Name of the secret store the component waits for: it refers to secrets, names a store, and the store is not there.
 * Undefined when it can start.
 */
export function awaitedSecretStore(spec: ComponentSpec, stores: SecretStores): string | undefined {
  const waits =
    spec.metadata.some((one) => one.secretKeyRef) && spec.secretStore !== '' && !stores.has(spec.secretStore);
  return waits ? spec.secretStore : undefined;
}

/**
 * The component's settings with secrets and environment variables filled in, names as written, templates as they are.
 * Never rejects: what cannot be had stays empty, and the log says so without showing any value.
 */
export async function resolveSettings(
  spec: ComponentSpec,
  stores: SecretStores,
  environment: Environment,
  log: Log,
): Promise<Record<string, string>> {
  const settings: [string, string][] = [];
  for (const one of spec.metadata) settings.push([one.name, await valueOf(one, spec, stores, environment, log)]);
  return Object.fromEntries(settings);
}

/** `envRef` counts where no value is written, and before `secretKeyRef`; a secret that is found counts before a value. */
async function valueOf(
  setting: ComponentSetting,
  spec: ComponentSpec,
  stores: SecretStores,
  environment: Environment,
  log: Log,
): Promise<string> {
  const { value, envRef, secretKeyRef } = setting;
  if (value === undefined && envRef !== undefined) return variableValue(envRef, spec, environment, log);
  const secret = secretKeyRef && (await secretValue(secretKeyRef, spec, stores, log));
  return secret ?? value ?? '';
}

function variableValue(variable: string, spec: ComponentSpec, environment: Environment, log: Log): string {
  const listed = environment.envKeys.length === 0 || environment.envKeys.includes(variable.toUpperCase());
  if (listed && isHarmless(variable)) return environment.variable(variable) ?? '';
  log.warn(`Component ${spec.name} references an env variable that isn't allowed: ${variable}`);
  return '';
}

async function secretValue(
  { name, key }: NonNullable<ComponentSetting['secretKeyRef']>,
  spec: ComponentSpec,
  stores: SecretStores,
  log: Log,
): Promise<string | undefined> {
  const store = stores.get(spec.secretStore);
  if (!store) {
    log.warn(`Component ${spec.name} references a secret store that isn't loaded: ${spec.secretStore}`);
    return undefined;
  }
  try {
    return (await store.get(name)).get(key);
  } catch (error) {
    log.error(`Error getting secret: ${messageOf(error)}`);
    return undefined;
  }
}
