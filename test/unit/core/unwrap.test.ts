import test from 'ava';
import { parsedEvent, unwrap } from '../../../src/core/unwrap.ts';

const unwrapped = (body: string) =>
  unwrap({ topic: 't', id: '1', attempt: 1, data: Buffer.from(body), contentType: '', metadata: {} }, 'p', 't', false);

test('only a date with its time and zone is an expiration', (t) => {
  const expiresAt = (expiration: string) => unwrapped(JSON.stringify({ id: '1', expiration })).expiresAt;
  t.is(expiresAt('2020-01-02T03:04:05Z'), Date.UTC(2020, 0, 2, 3, 4, 5));
  t.is(expiresAt('2020-01-02T03:04:05.5+02:00'), Date.UTC(2020, 0, 2, 1, 4, 5, 500));
  for (const other of [
    '',
    '5',
    '30s',
    '2 days',
    'soon 1',
    '2020-01-02',
    '2020-01-02T03:04:05',
    '2020-13-02T03:04:05Z',
  ]) {
    t.is(expiresAt(other), undefined, other);
  }
});

test('white space around an event changes nothing', (t) => {
  for (const body of ['{"id":"1"}\n', ' {"id":"1" } \r\n', '{}', '{ }\n']) {
    const event = unwrapped(body);
    t.deepEqual([event.body.toString(), event.isMessage], [body, true]);
  }
});

test('an object that something follows is no event: all of it is wrapped', (t) => {
  for (const body of ['{"id":"1"} x', '{"id":"1"}{"id":"2"}', '{}}', '{"id":"1"},{"id":"2"}\n']) {
    const { body: event, isMessage } = unwrapped(body);
    t.false(isMessage);
    const { data_base64: data } = JSON.parse(event.toString()) as { data_base64: string };
    t.is(Buffer.from(data, 'base64').toString(), body);
  }
});

test('rules see a trace of the metadata where the event has none, and the event keeps its bytes', (t) => {
  const seen = (body: string, metadata: Record<string, string>): unknown => {
    const message = { topic: 't', id: '1', attempt: 1, data: Buffer.from(body), contentType: '', metadata };
    const event = unwrap(message, 'p', 't', false);
    t.is(event.body.toString(), body);
    return parsedEvent(event, metadata);
  };
  const trace = { traceparent: 'b', tracestate: 'c' };
  t.deepEqual(seen('{"id":"1"}', trace), { id: '1', traceid: 'b', ...trace });
  t.deepEqual(seen('{"traceparent":"own"}', { traceid: 'a', ...trace }), {
    traceparent: 'own',
    traceid: 'a',
    tracestate: 'c',
  });
  t.deepEqual(seen('{"id":"1"}', {}), { id: '1' });
});
