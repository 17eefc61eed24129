import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Variables } from '../../../src/config/environment.ts';
import { DEFAULT_CONFIGURATION, loadConfiguration, type Configuration } from '../../../src/config/configuration.ts';
import { NO_TRACING } from '../../../src/config/tracing.ts';
import { directoryWith, environmentOf, memoryLog } from './_support.ts';

const HEAD = 'apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: appconfig}\n';

async function load(t: ExecutionContext, texts: readonly string[], variables: Variables = {}): Promise<Configuration> {
  const names = texts.map((_, index) => `${index}.yaml`);
  const directory = await directoryWith(t, Object.fromEntries(texts.map((text, index) => [`${index}.yaml`, text])));
  const files = names.map((name) => path.join(directory, name));
  return loadConfiguration(files, environmentOf(variables), memoryLog());
}

test('without files everything has its default', async (t) => {
  t.deepEqual(await load(t, []), DEFAULT_CONFIGURATION);
  t.deepEqual(await load(t, ['', HEAD, '# nothing\n---\n']), DEFAULT_CONFIGURATION);
});

test('a file is read in all that concerns a pub/sub sidecar', async (t) => {
  const text = `${HEAD}spec:
  tracing: { samplingRate: 1, stdout: true }
  Metric:
    enabled: false
    http: { increasedCardinality: false, pathMatching: ['/orders/{id}'], excludeVerbs: true }
    latencyDistributionBuckets: [5, 50]
    recordErrorCodes: true
    rules: [{ name: dapr_x, labels: [{ name: method, regex: { orders/: orders/.+ } }] }]
  features: [{ name: HotReload, enabled: false }, { name: Other, enabled: true }]
  api:
    allowed: [{ name: publish, version: v1, protocol: http }]
    denied: [{ name: shutdown, version: v1, protocol: grpc }]
  components: { deny: [pubsub.redis, pubsub.kafka/v1] }
  logging: { apiLogging: { enabled: true, obfuscateURLs: true, omitHealthChecks: true } }
  mtls: { enabled: true }
`;
  t.deepEqual(await load(t, [text]), {
    tracing: { ...NO_TRACING, samplingRate: 1, stdout: true },
    metrics: {
      enabled: false,
      increasedCardinality: false,
      pathMatching: ['/orders/{id}'],
      excludeVerbs: true,
      latencyBuckets: [5, 50],
      recordErrorCodes: true,
      rules: [{ name: 'dapr_x', labels: [{ name: 'method', regex: { 'orders/': 'orders/.+' } }] }],
    },
    features: new Map([
      ['HotReload', false],
      ['Other', true],
    ]),
    api: {
      allowed: [{ name: 'publish', version: 'v1', protocol: 'http' }],
      denied: [{ name: 'shutdown', version: 'v1', protocol: 'grpc' }],
    },
    deniedComponents: ['pubsub.redis', 'pubsub.kafka/v1'],
    apiLogging: { enabled: true, obfuscateUrls: true, omitHealthChecks: true },
  });
});

test('a later file counts where it says something, lists as a whole', async (t) => {
  const { tracing, metrics, features, apiLogging } = await load(t, [
    `${HEAD}spec:\n  tracing: {samplingRate: "0"}\n  features: [{name: A, enabled: true}, {name: B, enabled: true}]\n  logging: {apiLogging: {enabled: true, obfuscateURLs: true}}\n`,
    `${HEAD}spec:\n  metrics: {enabled: false}\n  features: [{name: B, enabled: false}]\n  logging: {apiLogging: {enabled: false}}\n`,
  ]);
  t.deepEqual([tracing.samplingRate, metrics.enabled], [0, false]);
  t.deepEqual([...features], [['B', false]]);
  t.deepEqual(apiLogging, { enabled: false, obfuscateUrls: true, omitHealthChecks: false });
});

test('the newer name of the metrics counts before the older', async (t) => {
  const both = 'spec:\n  metrics: {enabled: true}\n  metric: {enabled: false, recordErrorCodes: true}\n';
  t.like((await load(t, [both])).metrics, { enabled: true, recordErrorCodes: true });
});

test('variables are put in before the file is read, unset ones as nothing', async (t) => {
  const text =
    'spec:\n  tracing: {samplingRate: "${RATE}"}\n  components: {deny: ["$TYPE/v1", "a${NONE}b", "c$ d", "$constructor"]}\n';
  const { tracing, deniedComponents } = await load(t, [text], { RATE: '0.5', TYPE: 'pubsub.kafka' });
  t.is(tracing.samplingRate, 0.5);
  t.deepEqual(deniedComponents, ['pubsub.kafka/v1', 'ab', 'c$ d', '']);
});

test('a sampling rate that is none leaves the default and a warning', async (t) => {
  const directory = await directoryWith(t, { 'c.yaml': 'spec: {tracing: {samplingRate: often}}\n' });
  const log = memoryLog();
  const configuration = await loadConfiguration([path.join(directory, 'c.yaml')], environmentOf(), log);
  t.is(configuration.tracing.samplingRate, 0.0001);
  t.deepEqual(log.lines, [
    "warn tracing.samplingRate wants a number from 0 to 1, not 'often'; the default is used",
    'info Application configuration loaded',
    'info metric spec: {"enabled":true,"http":{"increasedCardinality":true,"pathMatching":[],"excludeVerbs":false}}',
  ]);
});

test('a file that is missing or wrong ends the start and is named', async (t) => {
  const missing = loadConfiguration(['/nowhere/config.yaml'], environmentOf(), memoryLog());
  await t.throwsAsync(missing, { message: /^failed to load configuration from \/nowhere\/config\.yaml: ENOENT/ });
  const refused: [string, RegExp][] = [
    ['spec: [', /\/0\.yaml: deficient indentation|\/0\.yaml: unexpected end of the stream/],
    ['- a list\n', /\/0\.yaml: the document is a list, not a mapping$/],
    ['spec: {features: {A: true}}\n', /\/0\.yaml: spec\.features is a mapping, not a list$/],
    ['spec: {metrics: {latencyDistributionBuckets: [5, 4]}}\n', /latencyDistributionBuckets wants whole numbers/],
    ['spec: {metric: {enabled: perhaps}}\n', /\/0\.yaml: spec\.metric\.enabled is a text, not true or false$/],
    [`spec: {x: "${'x'.repeat(2 ** 20)}"}`, /\/0\.yaml: larger than 1 MiB$/],
  ];
  for (const [text, message] of refused) await t.throwsAsync(load(t, [text]), { message });
});

test('what a variable puts into a broken file is in no message', async (t) => {
  const error = await t.throwsAsync(load(t, ['spec: {a: *$SECRET}\n'], { SECRET: 'hunter2' }));
  t.false(`${error?.stack} ${(error?.cause as Error).stack}`.includes('hunter2'));
});
