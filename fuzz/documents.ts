/** What is read in the process: resource files, CloudEvents, routing rules. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfiguration } from '../src/config/configuration.ts';
import { readEnvironment } from '../src/config/environment.ts';
import { readResiliency } from '../src/config/resiliency.ts';
import { loadResources } from '../src/config/resources.ts';
import { Envelopes } from '../src/core/cloud-event.ts';
import { SidecarError } from '../src/core/errors.ts';
import { compileRules } from '../src/core/routing.ts';
import { specsFromAppAnswer } from '../src/core/subscription-document.ts';
import { unwrap } from '../src/core/unwrap.ts';
import type { Log } from '../src/lib/log.ts';
import type { Random } from './random.ts';
import { isAccident, isAccidentText, type Target } from './target.ts';

const silent = (hear: (line: string) => void = () => undefined): Log => {
  const log: Log = { debug: hear, info: hear, warn: hear, error: hear, scoped: () => log };
  return log;
};

const KEYS: readonly string[] = [
  ...[
    'apiVersion',
    'kind',
    'metadata',
    'name',
    'namespace',
    'spec',
    'type',
    'version',
    'scopes',
    'auth',
    'secretStore',
  ],
  ...[
    'value',
    'secretKeyRef',
    'key',
    'envRef',
    'topic',
    'route',
    'routes',
    'rules',
    'match',
    'path',
    'default',
    'pubsubname',
  ],
  ...[
    'deadLetterTopic',
    'bulkSubscribe',
    'enabled',
    'maxMessagesCount',
    'maxAwaitDurationMs',
    'initTimeout',
    'ignoreErrors',
  ],
  ...[
    'policies',
    'timeouts',
    'retries',
    'circuitBreakers',
    'policy',
    'duration',
    'maxRetries',
    'trip',
    'timeout',
    'matching',
  ],
  ...[
    'targets',
    'components',
    'inbound',
    'outbound',
    'features',
    'api',
    'allowed',
    'denied',
    'logging',
    'tracing',
    'metric',
  ],
];
const VALUES: readonly unknown[] = [
  ...[
    'dapr.io/v1alpha1',
    'dapr.io/v2alpha1',
    'Component',
    'Subscription',
    'Resiliency',
    'Configuration',
    'HTTPEndpoint',
  ],
  ...[
    'pubsub.in-memory',
    'pubsub.redis',
    'v1',
    'constant',
    'exponential',
    '5s',
    '-1',
    'consecutiveFailures > 3',
    '200-299',
  ],
  ...[0, 1, -1, 1e21, true, null, [], {}, 'event.type == "a"'],
];

function mapping(random: Random, depth: number): unknown {
  if (depth === 0 || random.chance(25)) return random.chance(70) ? random.pick(VALUES) : random.json(2);
  if (random.chance(25)) return random.many(4, () => mapping(random, depth - 1));
  return Object.fromEntries(random.many(7, () => [random.pick(KEYS), mapping(random, depth - 1)]));
}

const WHOLE = {
  apiVersion: 'dapr.io/v1alpha1',
  metadata: { name: 'x' },
};

function yaml(random: Random): Buffer {
  const kind = random.pick(['Component', 'Subscription', 'Resiliency', 'Configuration', 'HTTPEndpoint']);
  const document = random.chance(70) ? { ...WHOLE, kind, spec: mapping(random, 5) } : mapping(random, 5);
  const text = JSON.stringify(document, null, random.below(3)) ?? 'null';
  const odd = random.pick([
    '',
    '---\n',
    '%YAML 1.2\n---\n',
    '&a [*a]\n',
    '<<: *x\n',
    '!!binary x\n',
    '- - - -\n',
    '? a\n: b\n',
  ]);
  const bytes = Buffer.from(`${odd}${text}`);
  return random.chance(40) ? random.damage(bytes) : bytes;
}

const yamlTarget: Target = {
  name: 'yaml',
  about: 'resource files, Configuration files and what an app lists',
  generate: yaml,
  open: async () => {
    const directory = await mkdtemp(join(tmpdir(), 'fuzz-yaml-'));
    const file = join(directory, 'a.yaml');
    return {
      run: async (input) => {
        await writeFile(file, input);
        let accident: string | undefined;
        const log = silent((line) => {
          if (isAccidentText(line)) accident = line;
        });
        const attempt = async (what: () => unknown): Promise<unknown> => {
          try {
            return await what();
          } catch (error) {
            if (isAccident(error)) accident = String((error as Error).stack);
            return undefined;
          }
        };
        const environment = readEnvironment({});
        await attempt(async () => {
          const { resiliencies } = await loadResources([directory], { appId: 'app', namespace: '', log });
          await readResiliency(resiliencies, log);
        });
        await attempt(() => loadConfiguration([file], environment, log));
        await attempt(() => specsFromAppAnswer(input.toString('utf8'), log));
        return accident;
      },
      close: () => rm(directory, { recursive: true }),
    };
  },
};

const ATTRIBUTES: readonly string[] = [
  ...['id', 'source', 'type', 'specversion', 'datacontenttype', 'data', 'data_base64', 'topic', 'pubsubname', 'time'],
  ...['traceid', 'traceparent', 'tracestate', 'expiration', 'subject', 'dlreason'],
];
const TYPES = [
  'application/cloudevents+json',
  'application/json',
  'text/plain',
  'application/x-protobuf',
  'application/octet-stream',
  '',
];

/** The content type, a line end, metadata as JSON, a line end, the payload. */
function event(random: Random): Buffer {
  const type = random.chance(80) ? random.pick(TYPES) : random.text().replaceAll('\n', '');
  const metadata = Object.fromEntries(random.many(4, () => [random.text(), random.text()]));
  const attributes = Object.fromEntries(random.many(10, () => [random.pick(ATTRIBUTES), random.json(3)]));
  const text = JSON.stringify(random.chance(70) ? attributes : random.json()) ?? '';
  const payload = random.chance(50) ? random.damage(Buffer.from(text)) : Buffer.from(text);
  return Buffer.concat([Buffer.from(`${type}\n${JSON.stringify(metadata)}\n`), payload]);
}

function parts(input: Buffer): [type: string, metadata: Record<string, string>, payload: Buffer] {
  const first = input.indexOf('\n');
  const second = input.indexOf('\n', first + 1);
  const metadata = JSON.parse(input.toString('utf8', first + 1, second)) as Record<string, string>;
  return [input.toString('utf8', 0, first), metadata, input.subarray(second + 1)];
}

const CONTEXT = {
  pubsubName: 'pubsub',
  topic: 'fuzzed',
  appId: 'app',
  trace: { traceparent: '', tracestate: '' },
  brokerExpires: false,
};

/** What is wrong with the event made of a payload; refusing is right where the client was wrong. */
function wrappedWell(payload: Buffer, type: string, metadata: Record<string, string>): string | undefined {
  let made: Buffer;
  try {
    made = new Envelopes(CONTEXT).toEvent(payload, type, metadata);
  } catch (error) {
    return error instanceof SidecarError && error.kind === 'cloud-event-invalid'
      ? undefined
      : `refused by ${String(error)}`;
  }
  const parsed = JSON.parse(made.toString('utf8')) as Record<string, unknown>;
  if (parsed['topic'] !== 'fuzzed' || parsed['pubsubname'] !== 'pubsub') return 'topic or pubsubname is not ours';
  if ('data' in parsed && 'data_base64' in parsed && type !== TYPES[0]) return 'both data and data_base64';
  const message = { topic: 'fuzzed', id: '1', attempt: 1, contentType: type, metadata: {}, data: made };
  return unwrap(message, 'pubsub', 'fuzzed', false).isMessage ? undefined : 'an event of ours is not taken for one';
}

const cloudEventsTarget: Target = {
  name: 'cloudevents',
  about: 'payloads that become events, and messages that are unwrapped',
  generate: event,
  open: async () => ({
    run: async (input) => {
      const [type, metadata, payload] = parts(input);
      const message = { topic: 'fuzzed', id: '1', attempt: 1, contentType: type, metadata };
      for (const raw of [true, false]) {
        const { body } = unwrap({ ...message, data: payload }, 'pubsub', 'fuzzed', raw);
        const parsed: unknown = JSON.parse(body.toString('utf8'));
        if (typeof parsed !== 'object' || parsed === null) return 'what is unwrapped is no event';
      }
      return wrappedWell(payload, type, metadata);
    },
    close: async () => undefined,
  }),
};

const ATOMS = [
  ...[
    'event.type',
    'event.data',
    'event.data.n',
    'event["x"]',
    'event',
    '"a"',
    "'b'",
    '1',
    '-1u',
    '1.5',
    'true',
    'null',
    '[1]',
  ],
  ...[
    '{"a": 1}',
    'event.subject',
    'size(event)',
    'timestamp("x")',
    'duration("1s")',
    'int("9")',
    'r"\\d+"',
    '"(a+)+$"',
    'b"x"',
  ],
];
const OPERATORS = ['==', '!=', '<', '>=', '&&', '||', '+', '-', '*', '/', '%', 'in'];
const METHODS = ['matches', 'startsWith', 'endsWith', 'contains', 'size', 'exists', 'map', 'filter', 'all', 'split'];

function expression(random: Random, depth: number): string {
  if (depth === 0 || random.chance(20)) return random.pick(ATOMS);
  const inner = (): string => expression(random, depth - 1);
  return random.pick([
    () => `${inner()} ${random.pick(OPERATORS)} ${inner()}`,
    () => `(${inner()})`,
    () => `!${inner()}`,
    () => `${inner()}.${random.pick(METHODS)}(${random.chance(30) ? 'x, ' : ''}${inner()})`,
    () => `${inner()} ? ${inner()} : ${inner()}`,
    () => `has(event.${random.pick(ATTRIBUTES)})`,
    () => `${inner()}[${inner()}]`,
  ])();
}

const celTarget: Target = {
  name: 'cel',
  about: 'routing rules and the events they are tried on',
  generate: (random) => {
    const source = Buffer.from(expression(random, 5).replaceAll('\n', ' '));
    const attributes = Object.fromEntries(random.many(10, () => [random.pick(ATTRIBUTES), random.json(3)]));
    const long = random.chance(20) ? { subject: `${'a'.repeat(random.below(5000))}!`, type: 'a'.repeat(300) } : {};
    const rule = random.chance(25) ? random.damage(source) : source;
    const json = JSON.stringify({ ...attributes, ...long });
    return Buffer.concat([
      Buffer.from(rule.toString('latin1').replaceAll('\n', ' '), 'latin1'),
      Buffer.from(`\n${json}`),
    ]);
  },
  open: async () => ({
    run: async (input) => {
      const end = input.indexOf('\n');
      const match = input.toString('utf8', 0, end);
      const tried: unknown = JSON.parse(input.toString('utf8', end + 1));
      let router;
      try {
        router = await compileRules([{ match, path: '/p' }], () => undefined);
      } catch (error) {
        return error instanceof Error && error.message.startsWith('invalid routing rule') ? undefined : String(error);
      }
      router.route(tried);
      return undefined;
    },
    close: async () => undefined,
  }),
};

export const DOCUMENTS: readonly Target[] = [yamlTarget, cloudEventsTarget, celTarget];
