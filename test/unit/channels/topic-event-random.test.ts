/** Random events as the messages that gRPC recipients get, against what JSON.parse makes of the same text. */

import test from 'ava';
import { Random } from '../../../fuzz/random.ts';
import { TopicEventBulkRequest, TopicEventRequest } from '../../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { SubscribeTopicEventsResponseAlpha1 } from '../../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { encode } from '../../../src/channels/message-writer.ts';
import { eventBatch, idOf, streamedEvent, topicEvent } from '../../../src/channels/topic-event.ts';
import { eventOf } from './_event.ts';

type Parsed = Record<string, unknown>;

const ROUNDS = 1000;
const ATTRIBUTES = ['id', 'source', 'type', 'specversion', 'datacontenttype'];
const KEYS = [
  ...ATTRIBUTES,
  ...ATTRIBUTES,
  'data',
  'data',
  'data_base64',
  'ext',
  'traceid',
  'expiration',
  '',
  'a"\\\n',
];
const TEXTS = ['', 'a', 'é', '𝄞', '\\ud834\\udd1e', '\\ud800', '\\udc00x', '\\u0000', '\\n\\"\\\\\\/', 'text/plain'];
const TYPES = ['application/json', 'text/plain', 'application/xml', 'application/octet-stream', 'Text/HTML; a=b'];
const SCALARS = ['null', 'true', 'false', '0', '-0', '1e3', '0.1', '12345678901234567890123', '1E-400', '[]', '{}'];

/** A JSON value as text, as somebody else's printer might write it. */
function value(random: Random, depth = 0): string {
  const space = random.pick(['', '', ' ', '\t', '\r\n']);
  if (random.chance(50)) return `"${random.many(3, () => random.pick(TEXTS)).join('')}"${space}`;
  if (depth > 4 || random.chance(60)) return random.pick(SCALARS) + space;
  const parts = random.many(4, () => value(random, depth + 1));
  return random.chance(50)
    ? `[${space}${parts.join(',')}]`
    : `{${parts.map((part) => `"${random.pick(TEXTS)}"${space}:${part}`).join(`,${space}`)}}`;
}

function member(random: Random): string {
  const key = random.pick(KEYS);
  const isBase64 = key === 'data_base64' && random.chance(80);
  const isType = key === 'datacontenttype' && random.chance(80);
  const deep = random.below(80);
  if (random.chance(5)) return `"deep":${'{"a":['.repeat(deep)}1${']}'.repeat(deep)}`;
  return `${JSON.stringify(key)}:${isBase64 ? '"AP8="' : isType ? JSON.stringify(random.pick(TYPES)) : value(random)}`;
}

/** What readers of protobuf see of a text: well-formed. */
function seen(is: unknown): unknown {
  if (typeof is === 'string') return is.toWellFormed();
  if (Array.isArray(is)) return is.map(seen);
  if (typeof is !== 'object' || is === null) return is;
  return Object.fromEntries(Object.entries(is).map(([key, one]) => [key.toWellFormed(), seen(one)]));
}

const depthOf = (is: unknown): number =>
  typeof is === 'object' && is !== null ? 1 + Math.max(0, ...Object.values(is).map(depthOf)) : 0;

const typeOf = ({ datacontenttype: type }: Parsed): string => (typeof type === 'string' ? type : '');

/** Whether the data is handed over as the JSON that it is. */
function isJson({ data, data_base64: base64, ...more }: Parsed): boolean {
  if (typeof base64 === 'string' || data === undefined || data === null) return false;
  return typeof data !== 'string' || typeOf(more) === 'application/json';
}

function dataOf({ data, data_base64: base64 }: Parsed): string {
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64').toString();
  return typeof data === 'string' ? data.toWellFormed() : '';
}

test('whatever a publisher wrote, gRPC recipients get what JSON.parse reads', (t) => {
  const random = new Random(1);
  for (let round = 0; round < ROUNDS; round++) {
    const body = `{${random.many(12, () => member(random)).join(',')}}`;
    const parsed = JSON.parse(body) as Parsed;
    const textAt = (key: string): string => (typeof parsed[key] === 'string' ? (seen(parsed[key]) as string) : '');
    const event = eventOf({ body });
    const single = TopicEventRequest.decode(encode(topicEvent, { event, path: '/p', unknown: 'bytes' }));
    const { data, extensions = {}, ...attributes } = single;
    t.deepEqual(
      attributes,
      {
        id: textAt('id'),
        source: textAt('source'),
        type: textAt('type'),
        specVersion: textAt('specversion'),
        dataContentType: textAt('datacontenttype'),
        topic: event.topic,
        pubsubName: event.pubsubName,
        path: '/p',
      },
      body,
    );
    t.is(idOf(event), single.id, body);
    for (const key of [...ATTRIBUTES, 'data', 'data_base64']) t.false(key in extensions, body);
    for (const [key, is] of Object.entries(parsed)) {
      if (ATTRIBUTES.includes(key) || key === 'data' || key === 'data_base64') continue;
      const expected =
        depthOf(is) > 32 && typeof extensions[key] === 'string' ? JSON.parse(extensions[key]) : extensions[key];
      t.deepEqual(expected, seen(is), body);
    }
    const text = Buffer.from(data).toString();
    if (isJson(parsed)) t.deepEqual(JSON.parse(text), parsed['data'], body);
    else t.is(text, dataOf(parsed), body);

    const streamed = SubscribeTopicEventsResponseAlpha1.decode(
      encode(streamedEvent, { event, path: '/p', unknown: 'bytes' }),
    );
    t.deepEqual(streamed.subscribeTopicEventsResponseType, { $case: 'eventMessage', value: single }, body);
    const request = { id: 'b', topic: 't', pubsubName: 'p', type: 'many', path: '/p', metadata: {} };
    const entries = [{ entryId: '1', event }];
    const [one] = TopicEventBulkRequest.decode(encode(eventBatch, { request, entries, unknown: 'bytes' })).entries;
    const { id, source, type: kind, specVersion, dataContentType } = attributes;
    t.deepEqual(
      one?.event,
      {
        $case: 'cloudEvent',
        value: { id, source, type: kind, specVersion, dataContentType, data, extensions: single.extensions },
      },
      body,
    );
  }
});
