import { readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { component, directoryWith, load, loadText, subscription } from './_support.ts';

test('files load by name, directories as given, documents from top to bottom', async (t) => {
  const first = await directoryWith(t, {
    'b.yml': component('b'),
    'a.YAML': `${component('a1')}---\n${component('a2')}`,
    'sub/hidden.yaml': component('hidden'),
  });
  const second = await directoryWith(t, { '0.yaml': component('last') });
  const { names, skipped, lines } = await load([first, second]);
  t.deepEqual(names, ['a1', 'a2', 'b', 'last']);
  t.deepEqual([skipped, lines], [[], []]);
});

test('a component is read with all it says', async (t) => {
  const { components } = await loadText(
    t,
    `APIVERSION: dapr.io/v1alpha1
Kind: Component
Metadata: { Name: 123 }
Spec:
  Type: PubSub.Redis
  InitTimeout: 1m
  ignoreErrors: true
  unknown: [ignored]
  Metadata:
    - name: redisHost
      value: localhost:6379
    - { name: redisDB, value: 007 }
    - { name: enableTLS, value: true }
    - { name: redisPassword, secretKeyRef: { name: redis } }
    - { name: redisUsername, secretKeyRef: { name: redis, key: user } }
    - { name: consumerID, envRef: MY_ID }
    - { name: empty, value: "" }
    - { name: nothing, value: }
auth: { SecretStore: vault }
scopes: [app1]
`,
  );
  t.like(components[0], {
    name: '123',
    type: 'pubsub.redis',
    version: 'v1',
    initTimeoutMs: 60_000,
    ignoreErrors: true,
    secretStore: 'vault',
  });
  t.deepEqual(components[0]?.scopes, ['app1']);
  t.deepEqual(components[0]?.metadata, [
    { name: 'redisHost', value: 'localhost:6379' },
    { name: 'redisDB', value: '007' },
    { name: 'enableTLS', value: 'true' },
    { name: 'redisPassword', secretKeyRef: { name: 'redis', key: 'redis' } },
    { name: 'redisUsername', secretKeyRef: { name: 'redis', key: 'user' } },
    { name: 'consumerID', envRef: 'MY_ID' },
    { name: 'empty', value: '' },
    { name: 'nothing' },
  ]);
});

test('what a component leaves out has its default', async (t) => {
  const text =
    'apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\nspec: {type: t, initTimeout: soon}\n';
  const { components } = await loadText(t, text);
  const [{ file, ...spec }] = components as [(typeof components)[0]];
  t.deepEqual(spec, {
    name: 'x',
    type: 't',
    version: 'v1',
    initTimeoutMs: 5000,
    ignoreErrors: false,
    metadata: [],
    secretStore: '',
    scopes: [],
  });
  t.is(path.basename(file), 'one.yaml');
});

test('duplicate keys are tolerated and names may be in any script', async (t) => {
  const { names } = await loadText(t, `apiVersion: wrong\n${component('"päß ☃ 🎉"')}`);
  t.deepEqual(names, ['päß ☃ 🎉']);
});

test('a file that is not YAML is left out with a warning', async (t) => {
  const directory = await directoryWith(t, { 'README.md': '# hello', 'a.yaml': component('a') });
  const { names, lines, skipped } = await load([directory]);
  t.deepEqual(names, ['a']);
  t.deepEqual(lines, ['warn A non-YAML Component file README.md was detected, it will not be loaded']);
  t.deepEqual(skipped, [
    { file: path.join(directory, 'README.md'), document: 0, reason: 'not a YAML file', isFault: false },
  ]);
});

test('a document that is broken is skipped with a warning, the others load', async (t) => {
  const directory = await directoryWith(t, {
    'a.yaml': `${component('a')}---\nkind: [broken\n---\n${component('b')}---\n- a list\n`,
  });
  const file = path.join(directory, 'a.yaml');
  const { names, lines, skipped } = await load([directory]);
  t.deepEqual(names, ['a', 'b']);
  const prefix = `warn daprd load Component error when parsing manifests yaml resource in ${file}: `;
  t.deepEqual(
    lines,
    skipped.map(({ reason }) => prefix + reason),
  );
  t.deepEqual(
    skipped.map(({ document, reason }) => [document, reason]),
    [
      [2, 'deficient indentation (line 10)'],
      [4, 'the document is a list, not a mapping'],
    ],
  );
});

test('a resource of the wrong shape is skipped, and its values are in no message', async (t) => {
  const { components, subscriptions, lines } = await loadText(
    t,
    [
      component('a', '  metadata: { hunter2: hunter2 }\n'),
      component('b', '  metadata: [{ name: x, value: [hunter2] }]\n'),
      component('c', '  ignoreErrors: hunter2\n'),
      component('d', 'scopes: hunter2\n'),
      subscription('e', '[hunter2]').replace('default: /[hunter2]', 'default: /'),
      subscription('f', 't', '  metadata: { a: [hunter2] }\n'),
    ].join('---\n'),
  );
  t.deepEqual([components, subscriptions], [[], []]);
  t.deepEqual(
    lines.map((line) => line.replace(/^warn daprd load (\w+) .*one.yaml: /, '$1: ')),
    [
      'Component: spec.metadata is a mapping, not a list',
      'Component: spec.metadata[0].value is a list, not a text',
      'Component: spec.ignoreErrors is a text, not true or false',
      'Component: scopes is a text, not a list',
      'Subscription: subscription.topic is a list, not a text',
      'Subscription: subscription.metadata.a is a list, not a text',
    ],
  );
});

test('documents of other kinds and versions are skipped without a word, and listed', async (t) => {
  const { names, lines, skipped } = await loadText(
    t,
    `kind: Deployment\nscopes: 5\n---\nkind: constructor\n---\nhello: world\n---\napiVersion: v1\nkind: Component\n---\n${component('a')}`,
  );
  t.deepEqual(names, ['a']);
  t.deepEqual(lines, []);
  t.deepEqual(
    skipped.map(({ document, reason }) => [document, reason]),
    [
      [1, "kind 'Deployment' is none of ours"],
      [2, "kind 'constructor' is none of ours"],
      [3, "kind '' is none of ours"],
      [4, "unknown apiVersion 'v1'"],
    ],
  );
});

test('resources are for the apps in their scopes', async (t) => {
  const text = [
    component('ours', 'scopes: [app2, app1]\n'),
    component('theirs', 'scopes: [app2]\n'),
    component('everybody', 'scopes: []\n'),
    subscription('s', 'theirs', 'scopes: [app2]\n'),
  ].join('---\n');
  const { names, topics, skipped, lines } = await loadText(t, text);
  t.deepEqual([names, topics], [['ours', 'everybody'], []]);
  t.deepEqual(
    skipped.map(({ reason }) => reason),
    ["not in scope of app 'app1'", "not in scope of app 'app1'"],
  );
  t.deepEqual(lines, []);
});

test('a namespace hides components of another one, but not subscriptions', async (t) => {
  const text = [
    component('a').replace('name: a', 'name: a\n  namespace: here'),
    component('b').replace('name: b', 'name: b\n  namespace: there'),
    component('c'),
    subscription('s', 'topic').replace('name: s', 'name: s\n  namespace: there'),
  ].join('---\n');
  const here = await loadText(t, text, { namespace: 'here' });
  t.deepEqual([here.names, here.topics], [['a', 'c'], ['topic']]);
  t.deepEqual((await loadText(t, text)).names, ['a', 'b', 'c']);
});

test('two components of one name end the start', async (t) => {
  const text = ['in-memory', 'redis', 'kafka'].map((type) => component('pubsub').replace('in-memory', type));
  const error = await t.throwsAsync(loadText(t, text.join('---\n')));
  const existing = 'with existing pubsub (pubsub.in-memory/v1)';
  const duplicate = ['redis', 'kafka']
    .map((type) => `duplicate definition of Component name pubsub (pubsub.${type}/v1) ${existing}`)
    .join('\n');
  t.is(error?.message, `failed to load components: ${duplicate}`);
  t.is((error?.cause as Error).message, duplicate);
});

test('two components of one name are fine when only one is in scope', async (t) => {
  const { names } = await loadText(t, `${component('a', 'scopes: [app2]\n')}---\n${component('a')}`);
  t.deepEqual(names, ['a']);
});

test('names that would spoil a path are refused', async (t) => {
  const names = ['..', 'a/b', '"100%"', '.'];
  const { components, skipped } = await loadText(t, names.map((name) => component(name)).join('---\n'));
  t.deepEqual(components, []);
  t.deepEqual(
    skipped.map(({ reason }) => reason),
    [
      `invalid name ".." for "Component": may not be '..'`,
      `invalid name "a/b" for "Component": may not contain '/'`,
      `invalid name "100%" for "Component": may not contain '%'`,
      `invalid name "." for "Component": may not be '.'`,
    ],
  );
});

test('subscriptions of both versions keep their order', async (t) => {
  const v1 = `apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: old}\nspec:\n  pubsubname: pubsub\n  topic: b\n  route: /b\n  metadata: {rawPayload: true}\n`;
  const directory = await directoryWith(t, {
    '2.yaml': subscription('three', 'c'),
    '1.yaml': `${subscription('one', 'a')}---\n${v1}`,
  });
  const { subscriptions } = await load([directory]);
  t.deepEqual(
    subscriptions.map(({ name, topic, rules, kind }) => [name, topic, rules[0]?.path, kind]),
    [
      ['one', 'a', '/a', 'DECLARATIVE'],
      ['old', 'b', '/b', 'DECLARATIVE'],
      ['three', 'c', '/c', 'DECLARATIVE'],
    ],
  );
  t.deepEqual(subscriptions[1]?.metadata, { rawPayload: 'true' });
});

test('a subscription replaces an earlier one of its name and takes its own place', async (t) => {
  const text = [
    subscription('same', 'first'),
    subscription('other', 'second'),
    subscription('same', 'third'),
    subscription('""', 'fourth'),
    subscription('""', 'fifth'),
  ].join('---\n');
  const { topics, skipped } = await loadText(t, text);
  t.deepEqual(topics, ['second', 'third', 'fourth', 'fifth']);
  t.deepEqual(
    skipped.map(({ document, reason }) => [document, reason.replace(/ in .*/, '')]),
    [[1, 'replaced by the subscription of the same name']],
  );
});

test('resiliency, configuration and HTTP endpoints are handed on as they are', async (t) => {
  const raw = (kind: string, version = 'dapr.io/v1alpha1'): string =>
    `apiVersion: ${version}\nkind: ${kind}\nmetadata: {name: my}\nspec: {a: {B: 5}}\n`;
  const { resiliencies, configurations, httpEndpoints } = await loadText(
    t,
    [raw('Resiliency', 'any/v9'), raw('Configuration'), raw('HTTPEndpoint')].join('---\n'),
  );
  for (const [one] of [resiliencies, configurations, httpEndpoints]) {
    t.like(one, { name: 'my', spec: { a: { B: '5' } } });
  }
});

test('a thousand components in one file load', async (t) => {
  const text = Array.from({ length: 1000 }, (_, index) => component(`c${index}`)).join('---\n');
  t.is((await loadText(t, text)).components.length, 1000);
});

test('the samples of this repository load together', async (t) => {
  const samples = path.join(import.meta.dirname, '../../../components');
  const { names, topics, skipped, lines, subscriptions } = await load([samples]);
  t.deepEqual(names, ['pubsub-kafka', 'pubsub-memory', 'pubsub', 'pubsub-redis', 'pubsub-sqlite']);
  t.deepEqual(topics, ['orders', 'deathStarStatus']);
  t.deepEqual([skipped, lines], [[], []]);
  t.deepEqual(subscriptions[1]?.rules, [{ match: '', path: '/dsstatus' }]);
  t.false((await readFile(path.join(samples, 'pubsub.yaml'), 'utf8')).includes('version:'));
});
