import test from 'ava';
import { TopicEventBulkRequest, TopicEventRequest } from '../../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { encode } from '../../../src/channels/message-writer.ts';
import { eventBatch, topicEvent } from '../../../src/channels/topic-event.ts';
import type { TopicEvent } from '../../../src/core/recipient.ts';
import { eventOf } from './_event.ts';

const messageOf = (event: TopicEvent): TopicEventRequest =>
  TopicEventRequest.decode(encode(topicEvent, { event, path: '/p', unknown: 'bytes' }));

test('attributes are fields, everything else is an extension, and texts come out as they went in', (t) => {
  const texts = { id: 'é "quoted" \\ \n', source: 'ü', type: '', specversion: '1.0', datacontenttype: 'text/plain' };
  const more = { text: '𝄞\t', number: 1.5, yes: true, nothing: null, list: [1, 'a'], object: { a: { b: [] } } };
  const event = eventOf({ body: JSON.stringify({ ...texts, ...more, data: 'dätä\n' }) });
  const expected = {
    id: texts.id,
    source: texts.source,
    type: '',
    specVersion: '1.0',
    dataContentType: 'text/plain',
    data: Buffer.from('dätä\n'),
  };
  t.deepEqual(messageOf(event), {
    ...expected,
    data: new Uint8Array(expected.data),
    topic: event.topic,
    pubsubName: event.pubsubName,
    path: '/p',
    extensions: more,
  });
  const raw = { ...event, raw: Buffer.from([0, 255]) };
  const entries = [event, raw].map((one, index) => ({ entryId: String(index), event: one }));
  const request = { id: 'b', topic: 't', pubsubName: 'p', type: 'many', path: '/p', metadata: { a: 'b' } };
  const batch = TopicEventBulkRequest.decode(encode(eventBatch, { request, entries, unknown: 'bytes' }));
  t.like(batch, request);
  const [single, bytes] = batch.entries;
  t.like(single, { entryId: '0', contentType: 'application/cloudevents+json' });
  t.deepEqual(single?.event, {
    $case: 'cloudEvent',
    value: { ...expected, data: new Uint8Array(expected.data), extensions: more },
  });
  t.like(bytes, { entryId: '1', contentType: 'application/octet-stream' });
  t.deepEqual(bytes?.event, { $case: 'bytes', value: new Uint8Array([0, 255]) });
});

test('what is no UTF-8 in an event is U+FFFD: readers of protobuf refuse it', (t) => {
  const body = Buffer.from('{"id":"a\xff","more":"\xff"}', 'latin1');
  t.like(messageOf(eventOf({ body: body as never })), { id: 'a\ufffd', extensions: { more: '\ufffd' } });
});

test('an attribute that nests deeper than protobuf readers follow is handed over as text', (t) => {
  const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
  const { extensions } = messageOf(eventOf({ body: `{"id":"1","deep":${nested(200)},"flat":${nested(3)}}` }));
  t.deepEqual(extensions, { deep: nested(200), flat: { a: { a: { a: 1 } } } });
});

test('a trace of the metadata is an extension where the event has none', (t) => {
  const metadata = { traceparent: 'b', tracestate: 'c', other: 'd' };
  const { extensions } = messageOf(eventOf({ body: '{"id":"1","tracestate":"own"}', metadata }));
  t.deepEqual(extensions, { traceparent: 'b', traceid: 'b', tracestate: 'own' });
});
