import test from 'ava';
import { eventOf as messageOf } from '../../../src/channels/topic-event.ts';
import { eventOf } from './_event.ts';

test('an attribute that nests deeper than protobuf readers follow is handed over as text', (t) => {
  const nested = (levels: number): string => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
  const { extensions } = messageOf(eventOf({ body: `{"id":"1","deep":${nested(200)},"flat":${nested(3)}}` }), 'bytes');
  t.deepEqual(extensions, { deep: nested(200), flat: { a: { a: { a: 1 } } } });
});

test('a trace of the metadata is an extension where the event has none', (t) => {
  const metadata = { traceparent: 'b', tracestate: 'c', other: 'd' };
  const { extensions } = messageOf(eventOf({ body: '{"id":"1","tracestate":"own"}', metadata }), 'bytes');
  t.deepEqual(extensions, { traceparent: 'b', traceid: 'b', tracestate: 'own' });
});
