import test from 'ava';
import { headersOf } from '../../../src/channels/app-headers.ts';
import { eventOf } from './_event.ts';

const named = (headers: readonly string[], name: string): string[] =>
  headers.filter((_, index) => index % 2 === 1 && headers[index - 1] === name);

test('values go as UTF-8, wherever they come from', (t) => {
  const headers = headersOf(eventOf({ pubsubName: 'é', tracestate: '€', metadata: { k: 'ü' } }));
  for (const [name, value] of Object.entries({ pubsubname: 'é', tracestate: '€', k: 'ü' })) {
    t.deepEqual(named(headers, name), [Buffer.from(value).toString('latin1')]);
  }
});

test('blanks around a value are left out: some HTTP/2 servers leave out the whole header for them', (t) => {
  t.deepEqual(named(headersOf(eventOf({ metadata: { k: '\t a b ' } })), 'k'), ['a b']);
});

test('what would end a header line is left out, wherever it comes from', (t) => {
  const bad = 'a\r\nx-evil: 1';
  t.deepEqual(headersOf(eventOf({ pubsubName: bad, traceparent: bad, tracestate: bad, metadata: { k: bad } })), []);
});

test('metadata past what every server takes is left out, and the rest is there', (t) => {
  const metadata = { large: 'x'.repeat(70_000), a: 'b', fits: 'y'.repeat(6000), not: 'z'.repeat(2000) };
  const headers = headersOf(eventOf({ metadata, tracestate: 's'.repeat(9000) }));
  const names = headers.filter((_, i) => i % 2 === 0);
  t.true(names.includes('a') && names.includes('fits'));
  t.false(names.includes('large') || names.includes('not') || names.includes('tracestate'));
  t.true(headers.join('').length < 8192);
});

test('no metadata asks the app to compress an answer that is read as it is, nor says that the event is compressed', (t) => {
  const metadata = { 'Accept-Encoding': 'gzip', 'Content-Encoding': 'gzip', 'x-a': 'b' };
  const names = headersOf(eventOf({ metadata })).filter((_, i) => i % 2 === 0);
  t.deepEqual(names, ['pubsubname', 'x-a']);
});
