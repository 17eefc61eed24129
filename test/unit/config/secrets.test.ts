import path from 'node:path';
import test from 'ava';
import type { ComponentSetting, ComponentSpec } from '../../../src/config/component.ts';
import {
  awaitedSecretStore,
  isSecretStore,
  openSecretStore,
  resolveSettings,
  type SecretStore,
} from '../../../src/config/secrets.ts';
import { directoryWith, environmentOf, memoryLog } from './_support.ts';

const spec = (metadata: readonly ComponentSetting[], more: Partial<ComponentSpec> = {}): ComponentSpec => ({
  name: 'pubsub',
  type: 'pubsub.redis',
  version: 'v1',
  initTimeoutMs: 5000,
  ignoreErrors: false,
  metadata,
  secretStore: '',
  scopes: [],
  file: 'x.yaml',
  ...more,
});

const store = (secrets: Readonly<Record<string, Readonly<Record<string, string>>>>): SecretStore => ({
  get: async (name) => {
    const found = secrets[name];
    if (!found) throw new Error(`secret ${name} not found`);
    return new Map(Object.entries(found));
  },
});

const password = { name: 'redisPassword', secretKeyRef: { name: 'redis', key: 'password' } };

async function fileStore(t: Parameters<typeof directoryWith>[0], content: string, settings = {}): Promise<SecretStore> {
  const directory = await directoryWith(t, { 'secrets.json': content });
  const secretsFile = path.join(directory, 'secrets.json');
  return openSecretStore(spec([], { type: 'secretstores.local.file' }), { secretsFile, ...settings }, environmentOf());
}

const entries = async (from: SecretStore, name: string) => [...(await from.get(name))];

test('written values are taken as they are, and one that is missing is empty', async (t) => {
  const log = memoryLog();
  const settings = await resolveSettings(
    spec([
      { name: 'redisHost', value: 'localhost' },
      { name: 'empty' },
      { name: 'twice', value: '1' },
      { name: 'twice', value: '2' },
    ]),
    new Map(),
    environmentOf(),
    log,
  );
  t.deepEqual(settings, { redisHost: 'localhost', empty: '', twice: '2' });
  t.deepEqual(log.lines, []);
});

test('a secret is looked up in the store the component names', async (t) => {
  const stores = new Map([
    ['vault', store({ redis: { password: 'hunter2' } })],
    ['other', store({ redis: { password: 'wrong' } })],
  ]);
  const settings = await resolveSettings(
    spec([password], { secretStore: 'vault' }),
    stores,
    environmentOf(),
    memoryLog(),
  );
  t.deepEqual(settings, { redisPassword: 'hunter2' });
});

test('a secret that cannot be had stays empty, and the log says so', async (t) => {
  const log = memoryLog();
  const stores = new Map([['vault', store({ redis: { password: 'hunter2' } })]]);
  const settings = await resolveSettings(
    spec(
      [
        { name: 'missing', secretKeyRef: { name: 'nobody', key: 'x' } },
        { name: 'noSuchKey', secretKeyRef: { name: 'redis', key: 'constructor' } },
      ],
      { secretStore: 'vault' },
    ),
    stores,
    environmentOf(),
    log,
  );
  t.deepEqual(settings, { missing: '', noSuchKey: '' });
  t.deepEqual(log.lines, ['error Error getting secret: secret nobody not found']);
});

test('a store that is not loaded is warned of and waited for, one that is not named is not waited for', async (t) => {
  const log = memoryLog();
  const waiting = spec([password], { secretStore: 'vault' });
  t.is(awaitedSecretStore(waiting, new Map()), 'vault');
  t.is(awaitedSecretStore(waiting, new Map([['vault', store({})]])), undefined);
  t.is(awaitedSecretStore(spec([{ name: 'a', value: 'b' }], { secretStore: 'vault' }), new Map()), undefined);
  t.is(awaitedSecretStore(spec([password]), new Map()), undefined);
  t.deepEqual(await resolveSettings(spec([password]), new Map(), environmentOf(), log), { redisPassword: '' });
  t.deepEqual(log.lines, ["warn Component pubsub references a secret store that isn't loaded: "]);
});

test('an environment variable counts where no value is written, and before a secret', async (t) => {
  const { secretKeyRef } = password;
  const settings = await resolveSettings(
    spec(
      [
        { name: 'a', envRef: 'HOST' },
        { name: 'b', envRef: 'HOST', value: 'written' },
        { name: 'c', envRef: 'HOST', secretKeyRef },
        { name: 'd', envRef: 'NOT_SET' },
      ],
      { secretStore: 'vault' },
    ),
    new Map([['vault', store({ redis: { password: 'hunter2' } })]]),
    environmentOf({ HOST: 'from-env' }),
    memoryLog(),
  );
  t.deepEqual(settings, { a: 'from-env', b: 'written', c: 'from-env', d: '' });
});

test("the sidecar's own variables are given to no component", async (t) => {
  const log = memoryLog();
  const denied = ['DAPR_API_TOKEN', 'dapr_anything', 'App_Api_Token', 'WITH SPACE'];
  const settings = await resolveSettings(
    spec(denied.map((envRef) => ({ name: envRef, envRef }))),
    new Map(),
    environmentOf(Object.fromEntries(denied.map((name) => [name, 'hunter2']))),
    log,
  );
  t.deepEqual(new Set(Object.values(settings)), new Set(['']));
  t.deepEqual(
    log.lines,
    denied.map((name) => `warn Component pubsub references an env variable that isn't allowed: ${name}`),
  );
});

test('DAPR_ENV_KEYS limits the variables to those it names', async (t) => {
  const log = memoryLog();
  const settings = await resolveSettings(
    spec([
      { name: 'a', envRef: 'one' },
      { name: 'b', envRef: 'OTHER' },
      { name: 'c', envRef: 'DAPR_X' },
    ]),
    new Map(),
    environmentOf({ one: '1', OTHER: '2', DAPR_X: '3', DAPR_ENV_KEYS: 'ONE DAPR_X' }),
    log,
  );
  t.deepEqual(settings, { a: '1', b: '', c: '' });
  t.is(log.lines.length, 2);
});

test('the store of the environment gives variables, with their prefix, but not the denied ones', async (t) => {
  const component = spec([], { type: 'secretstores.local.env' });
  t.true(isSecretStore(component));
  const environment = environmentOf({ MY_KEY: 'value', DAPR_API_TOKEN: 'hunter2' });
  const plain = await openSecretStore(component, {}, environment);
  t.deepEqual(await entries(plain, 'MY_KEY'), [['MY_KEY', 'value']]);
  await t.throwsAsync(plain.get('DAPR_API_TOKEN'), { message: "env variable DAPR_API_TOKEN isn't allowed" });
  await t.throwsAsync(plain.get('NOT_SET'), { message: 'env variable NOT_SET is not set' });
  const prefixed = await openSecretStore(component, { Prefix: 'MY_' }, environment);
  t.deepEqual(await entries(prefixed, 'KEY'), [['KEY', 'value']]);
  const sly = await openSecretStore(component, { prefix: 'DAPR_API_' }, environment);
  await t.throwsAsync(sly.get('TOKEN'), { message: "env variable DAPR_API_TOKEN isn't allowed" });
});

const SECRETS = JSON.stringify({ plain: 'a', redis: { password: 'b', deep: { key: 5 } }, list: ['x', true, null] });

test('the store of a file flattens what is nested', async (t) => {
  const secrets = await fileStore(t, SECRETS);
  t.deepEqual(await entries(secrets, 'plain'), [['plain', 'a']]);
  t.deepEqual(await entries(secrets, 'redis:password'), [['redis:password', 'b']]);
  t.deepEqual(await entries(secrets, 'redis:deep:key'), [['redis:deep:key', '5']]);
  t.deepEqual(await entries(secrets, 'list:1'), [['list:1', 'true']]);
  await t.throwsAsync(secrets.get('redis'), { message: 'secret redis not found' });
  const dotted = await fileStore(t, SECRETS, { nestedSeparator: '.' });
  t.deepEqual(await entries(dotted, 'redis.password'), [['redis.password', 'b']]);
});

test('the store of a file may give all values below a key', async (t) => {
  const secrets = await fileStore(t, SECRETS, { multiValued: 'true' });
  t.deepEqual(await entries(secrets, 'plain'), [['plain', 'a']]);
  t.deepEqual(await entries(secrets, 'redis'), [
    ['password', 'b'],
    ['deep:key', '5'],
  ]);
  await t.throwsAsync(secrets.get('redis:password'), { message: 'secret redis:password not found' });
});

test('a file of secrets that cannot be read is named, and what is in it is not', async (t) => {
  const error = await t.throwsAsync(fileStore(t, '{"password": hunter2}'));
  t.regex(error?.message ?? '', /^secrets file '.*secrets\.json': not JSON$/);
  t.false(`${error?.stack} ${error?.cause}`.includes('hunter2'));
  await t.throwsAsync(fileStore(t, '["a"'), { message: /not JSON$/ });
  await t.throwsAsync(fileStore(t, '"text"'), { message: /not a JSON object$/ });
  const component = spec([], { type: 'secretstores.local.file' });
  const missing = openSecretStore(component, { secretsFile: '/nowhere/secrets.json' }, environmentOf());
  await t.throwsAsync(missing, { message: /^secrets file '\/nowhere\/secrets\.json': ENOENT/ });
  await t.throwsAsync(openSecretStore(component, {}, environmentOf()), {
    message: 'missing local secrets file in metadata',
  });
});

test('a secret store of another type is refused', async (t) => {
  for (const type of ['secretstores.azure.keyvault', 'constructor']) {
    await t.throwsAsync(openSecretStore(spec([], { type }), {}, environmentOf()), {
      message: `couldn't find secret store ${type}/v1`,
    });
  }
});
