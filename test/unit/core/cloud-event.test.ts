import test from 'ava';
import { CloudEvent } from 'cloudevents';
import { Envelopes, wrapRaw, type EnvelopeContext } from '../../../src/core/cloud-event.ts';
import { SidecarError } from '../../../src/core/errors.ts';
import { NO_TRACE } from '../../../src/core/trace.ts';

const CONTEXT: EnvelopeContext = {
  pubsubName: 'pubsub',
  topic: 'orders',
  appId: 'app',
  trace: NO_TRACE,
  brokerExpires: false,
};
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

const textOf = (
  data: string | Buffer,
  type: string,
  metadata: Record<string, string> = {},
  context = CONTEXT,
): string => new Envelopes(context).toEvent(Buffer.from(data), type, metadata).toString();
const eventOf = (...args: Parameters<typeof textOf>): Record<string, unknown> =>
  JSON.parse(textOf(...args)) as Record<string, unknown>;

test('an envelope has every attribute, and an independent implementation accepts it', (t) => {
  const before = Math.floor(Date.now() / 1000) * 1000;
  const event = eventOf('{"a":1}', 'application/json');
  t.regex(String(event['id']), UUID);
  t.regex(String(event['time']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$/);
  const time = Date.parse(String(event['time']));
  t.true(before <= time && time <= Date.now());
  t.like(event, {
    data: { a: 1 },
    datacontenttype: 'application/json',
    pubsubname: 'pubsub',
    source: 'app',
    specversion: '1.0',
    topic: 'orders',
    traceid: '',
    traceparent: '',
    tracestate: '',
    type: 'com.dapr.event.sent',
  });
  t.notThrows(() => new CloudEvent(event).validate());
});

test('keys stand in alphabetical order', (t) => {
  const metadata = { ttlInSeconds: '10', 'cloudevent.subject': 's' };
  for (const type of ['application/json', 'text/plain', 'application/octet-stream']) {
    const keys = Object.keys(eventOf('{}', type, metadata));
    t.deepEqual(keys, [...keys].sort());
  }
});

test('a number keeps its text', (t) => {
  const numbers = '{"big":12345678901234567890,"small":1.10,"exp":1E5}';
  t.true(textOf(numbers, 'application/json').includes(numbers));
  t.true(
    textOf(`{"id":"1","n":12345678901234567890}`, 'application/cloudevents+json').includes('12345678901234567890'),
  );
});

test('JSON that is broken or missing becomes a text', (t) => {
  for (const data of ['', '{"a":', 'hello', '\ufeff{}']) t.is(eventOf(data, 'application/json')['data'], data);
});

test('only the first JSON value counts', (t) => {
  t.deepEqual(eventOf('{"a":1} x', 'application/json')['data'], { a: 1 });
  t.is(eventOf('null', 'application/json')['data'], null);
});

test('the media type is told in any case and whatever its parameters, and kept as it was written', (t) => {
  const event = eventOf('{"a":1}', 'Application/JSON; charset=utf-8');
  t.deepEqual(event['data'], { a: 1 });
  t.is(event['datacontenttype'], 'Application/JSON; charset=utf-8');
});

test('bytes travel as base64 where the type says bytes, as text everywhere else', (t) => {
  const bytes = Buffer.from([0, 255, 1, 2]);
  for (const type of ['application/octet-stream', 'application/cloudevents+protobuf']) {
    t.is(eventOf(bytes, type)['data_base64'], bytes.toString('base64'));
  }
  for (const type of ['text/plain', 'application/xml', 'application/vnd.x+json', 'image/png', 'application/protobuf']) {
    t.is(eventOf('{"a":1}', type)['data'], '{"a":1}');
  }
  t.is(eventOf(Buffer.from([0xff, 0x61]), 'text/plain')['data'], '\ufffda');
});

test('x-protobuf is bytes when it is protobuf, and a text when it is not', (t) => {
  const message = Buffer.from([0x0a, 0x01, 0x61, 0x12, 0x02, 0x62, 0x63]);
  t.is(eventOf(message, 'application/x-protobuf')['data_base64'], message.toString('base64'));
  t.is(eventOf('{"a":1}', 'application/x-protobuf')['data'], '{"a":1}');
});

test('no type is text/plain', (t) => {
  t.like(eventOf('hi', ''), { data: 'hi', datacontenttype: 'text/plain' });
});

test('what a payload contains cannot break out of its envelope', (t) => {
  const hostile = '","id":"evil\u2028\\\n\u0000</script>';
  t.is(eventOf(hostile, 'text/plain')['data'], hostile);
  const event = eventOf('{}', 'application/json', { 'cloudevent.id': hostile, 'cloudevent.source': hostile });
  t.is(event['id'], hostile);
  t.is(event['source'], hostile);
});

test('cloudevent.* metadata overrides, in any case; empty values fall back', (t) => {
  const event = eventOf('1', 'application/json', {
    'CloudEvent.ID': 'i',
    'cloudevent.source': 's',
    'cloudevent.type': 't',
    'cloudevent.subject': 'u',
    'cloudevent.tracestate': 'k=v',
    'cloudevent.traceid': 'x',
    'cloudevent.topic': 'ignored',
    'cloudevent.specversion': '9',
  });
  t.like(event, { id: 'i', source: 's', type: 't', subject: 'u', tracestate: 'k=v', traceid: 'x', traceparent: 'x' });
  t.like(event, { topic: 'orders', specversion: '1.0' });
  const empty = eventOf('1', 'text/plain', { 'cloudevent.id': '', 'cloudevent.source': '', 'cloudevent.type': '' });
  t.regex(String(empty['id']), UUID);
  t.like(empty, { source: 'Dapr', type: 'com.dapr.event.sent' });
});

test('cloudevent.traceparent beats cloudevent.traceid and the caller', (t) => {
  const context = { ...CONTEXT, trace: { traceparent: TRACE, tracestate: 'a=b' } };
  t.like(eventOf('1', 'text/plain', {}, context), { traceid: TRACE, traceparent: TRACE, tracestate: 'a=b' });
  const both = { 'cloudevent.traceid': 'id', 'cloudevent.traceparent': 'parent' };
  t.like(eventOf('1', 'text/plain', both, context), { traceid: 'parent', traceparent: 'parent' });
});

const inSeconds = (event: Record<string, unknown>): number =>
  Math.round((Date.parse(String(event['expiration'])) - Date.now()) / 1000);

test('a time to live becomes an expiration, as recorded', (t) => {
  const with_ = (ttl: string): Record<string, unknown> => eventOf('1', 'application/json', { TTLinSeconds: ttl });
  t.true(Math.abs(inSeconds(with_('10')) - 10) <= 3);
  t.true(Math.abs(inSeconds(with_('1m30s')) - 90) <= 3);
  t.true(Math.abs(inSeconds(with_('0'))) <= 3);
  t.true(Math.abs(inSeconds(with_('-5s'))) <= 3);
  for (const ttl of ['-5', 'abc', '', '1.5']) t.false('expiration' in with_(ttl), ttl);
  t.regex(String(with_('99999999999')['expiration']), /^2\d{3}-/);
  t.false('expiration' in eventOf('1', 'text/plain', { ttl: '9' }, { ...CONTEXT, brokerExpires: true }));
});

test('a CloudEvent is completed, and nothing of it is lost', (t) => {
  const given = '{"n":12345678901234567890,"ext":{"a":1},"topic":"x","pubsubname":"y","data":"d","subject":"s"}';
  const event = eventOf(given, 'application/cloudevents+json; charset=utf-8', { 'cloudevent.id': 'ignored' });
  t.like(event, { ext: { a: 1 }, topic: 'orders', pubsubname: 'pubsub', data: 'd', subject: 's' });
  t.like(event, { source: 'Dapr', type: 'com.dapr.event.sent', specversion: '1.0', traceid: '', tracestate: '' });
  t.false('id' in event);
  t.false('datacontenttype' in event);
});

test("a CloudEvent's own time, trace and source stay; null ones are filled", (t) => {
  const own = { id: '1', time: 'then', traceid: 'x', traceparent: TRACE, tracestate: 's', source: 'me', type: 'mine' };
  t.like(eventOf(JSON.stringify(own), 'application/cloudevents+json'), own);
  const event = eventOf('{"source":null,"type":null,"specversion":null,"time":null}', 'application/cloudevents+json');
  t.like(event, { source: 'Dapr', type: 'com.dapr.event.sent', specversion: '1.0', time: null });
});

test('a broken CloudEvent is refused with the reason', (t) => {
  const error = t.throws(() => eventOf('{x', 'application/cloudevents+json'), { instanceOf: SidecarError });
  t.is(error.kind, 'cloud-event-invalid');
  t.deepEqual(error.info, {
    appID: 'app',
    error: "invalid character 'x' looking for beginning of object key string",
  });
  for (const data of ['[1]', '', 'null', '"x"', '{"a":1']) {
    t.throws(() => eventOf(data, 'application/cloudevents+json'), { instanceOf: SidecarError }, data);
  }
});

test('__proto__ in a CloudEvent is data like any other', (t) => {
  const text = textOf('{"__proto__":{"polluted":true},"id":"1"}', 'application/cloudevents+json');
  t.true(text.includes('"__proto__":{"polluted":true}'));
  t.is(({} as Record<string, unknown>)['polluted'], undefined);
});

test('raw bytes are wrapped without a time and with a new id each time', (t) => {
  const wrap = (): Record<string, unknown> =>
    JSON.parse(wrapRaw(Buffer.from('{"a":1}'), 'pubsub', 'orders', {}).toString()) as Record<string, unknown>;
  const event = wrap();
  t.deepEqual(Object.keys(event), [
    ...['data_base64', 'datacontenttype', 'id', 'pubsubname', 'source', 'specversion', 'topic', 'type'],
  ]);
  t.like(event, { datacontenttype: 'application/octet-stream', source: 'Dapr', data_base64: 'eyJhIjoxfQ==' });
  t.not(wrap()['id'], event['id']);
});

test('events of one request have what is theirs, whatever the others set', (t) => {
  const envelopes = new Envelopes(CONTEXT);
  const make = (type: string, metadata: Record<string, string> = {}): Record<string, unknown> =>
    JSON.parse(envelopes.toEvent(Buffer.from('1'), type, metadata).toString()) as Record<string, unknown>;
  const plain = make('application/json');
  t.like(make('text/plain', { 'cloudevent.type': 'own', 'cloudevent.id': 'é"1' }), {
    id: 'é"1',
    type: 'own',
    data: '1',
  });
  t.truthy(make('application/json', { ttlInSeconds: '10' })['expiration']);
  t.like(make('text/plain'), { datacontenttype: 'text/plain', data: '1', type: 'com.dapr.event.sent' });
  const again = make('application/json');
  t.not(again['id'], plain['id']);
  t.deepEqual({ ...again, id: '' }, { ...plain, id: '' });
});
