import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { contentTypeOf, type OutgoingEvent, readEvents } from '../../../src/cli/events.ts';
import { Failure } from '../../../src/cli/failure.ts';
import { parse } from '../../../src/cli/parse.ts';
import { bulkRequest, type Delivery, singleRequest } from '../../../src/cli/publish-request.ts';

async function events(...words: string[]): Promise<OutgoingEvent[]> {
  const { options, operands } = parse(['publish', ...words]);
  return readEvents(options, operands);
}

const texts = (all: readonly OutgoingEvent[]): string[] => all.map(({ data }) => Buffer.from(data).toString());

test('the content type is what the data is', async (t) => {
  const cases: [string, string][] = [
    ['{"status": "completed"}', 'application/json'],
    ['[1]', 'application/json'],
    ['42', 'application/json'],
    ['hello', 'text/plain'],
    ['', 'text/plain'],
    ['{"id":"1","source":"s","specversion":"1.0","type":"t"}', 'application/json'],
    ['{"id":"1","source":"s","specversion":"1.0","type":"t","data":null}', 'application/cloudevents+json'],
  ];
  for (const [data, type] of cases) t.is(contentTypeOf(Buffer.from(data)), type, data);
  t.is(contentTypeOf(Uint8Array.of(0xff, 0xfe)), 'application/octet-stream');
});

test('JSON that lost its quotes on the way is refused with advice, unless it is said to be text', async (t) => {
  for (const words of [
    ['-d', '{status: completed}'],
    ['-d', `'{"status":`, 'completed}'],
    ['-d', `'{"a":1}'`],
  ]) {
    const failure = await t.throwsAsync(events('-t', 'x', ...words), { instanceOf: Failure });
    t.is(failure?.exit, 2);
    t.regex(failure?.next.join(' ') ?? '', /--data @file/);
  }
  t.deepEqual(texts(await events('-d', '{status: completed}', '--content-type', 'text/plain')), [
    '{status: completed}',
  ]);
});

test('an event has an id, its own or the one that was given', async (t) => {
  const [one] = await events('-d', '{}');
  t.regex(one?.id ?? '', /^[0-9a-f-]{36}$/);
  t.is(one?.metadata['cloudevent.id'], one?.id);
  const [given] = await events('-d', '{}', '--id', 'mine', '--subject', 's', '--source', 'a', '--type', 'b');
  t.deepEqual(given?.metadata, {
    'cloudevent.id': 'mine',
    'cloudevent.subject': 's',
    'cloudevent.source': 'a',
    'cloudevent.type': 'b',
  });
});

test('a CloudEvent and raw data stay as they are', async (t) => {
  const text = '{"id":"7","source":"s","specversion":"1.0","type":"t","data":1}';
  const [event] = await events('-d', text);
  t.is(event?.id, '7');
  t.deepEqual(event?.metadata, {});
  const [raw] = await events('-d', '{}', '--raw');
  t.deepEqual(raw?.metadata, { rawPayload: 'true' });
  for (const words of [
    ['-d', text],
    ['-d', '{}', '--raw'],
  ]) {
    await t.throwsAsync(events(...words, '--id', 'x'), { message: /--id has no effect/ });
  }
});

test('metadata comes as JSON, as pairs, and from --ttl', async (t) => {
  const [event] = await events('-d', '1', '--raw', '-m', '{"a":"1","b":2}', '-m', 'c=x=y', '--ttl', '1m30s');
  t.deepEqual(event?.metadata, { a: '1', b: '2', c: 'x=y', ttlInSeconds: '90', rawPayload: 'true' });
  await t.throwsAsync(events('-d', '1', '-m', 'nonsense'), { message: /k=v/ });
  await t.throwsAsync(events('-d', '1', '-m', '{broken'), { message: /JSON object/ });
});

test('a time to live that the sidecar would not know, or that is over at once, is refused', async (t) => {
  const bad = [
    'ttlInSeconds=abc',
    'ttlInSeconds=',
    'ttlInSeconds=0',
    'TTLinseconds=-5',
    'ttl=1.5',
    '{"ttlInSeconds":0.5}',
  ];
  for (const words of [['--ttl', '0s'], ['--ttl', '0'], ...bad.map((one) => ['-m', one])]) {
    const failure = await t.throwsAsync(events('-d', '1', ...words), { instanceOf: Failure }, words.join(' '));
    t.is(failure?.exit, 2);
    t.regex(failure?.message ?? '', /time to live/);
  }
  for (const good of ['ttlInSeconds=60', 'ttl=1m30s', '{"ttlInSeconds":60}'])
    t.is((await events('-d', '1', '-m', good)).length, 1);
});

test('a content type that no header can carry is refused', async (t) => {
  for (const type of ['text/plain\n', 'text/plain\r\nx: y', 'text/\u2028']) {
    const failure = await t.throwsAsync(events('-d', '1', '--content-type', type), { instanceOf: Failure });
    t.is(failure?.exit, 2);
    t.true(failure?.message.endsWith(`not ${JSON.stringify(type)}`), failure?.message);
  }
});

test('lines and elements are events of their own, and numbers keep their digits', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'events-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'orders');
  writeFileSync(path, '{"n":1}\r\n\n{"n":12345678901234567890}\n');
  t.deepEqual(texts(await events('-f', path, '--lines')), ['{"n":1}', '{"n":12345678901234567890}']);
  writeFileSync(path, '[{"n":12345678901234567890.10}, "text"]');
  t.deepEqual(texts(await events('-d', `@${path}`, '--json-array')), ['{"n":12345678901234567890.10}', '"text"']);
  await t.throwsAsync(events('-d', '{}', '--json-array'), { message: /wants a JSON array/ });
});

test('a repeated event counts itself', async (t) => {
  const all = await events('-d', '{"n": {{n}}}', '--repeat', '3', '--content-type', 'application/json');
  t.deepEqual(texts(all), ['{"n": 1}', '{"n": 2}', '{"n": 3}']);
  t.is(new Set(all.map(({ id }) => id)).size, 3);
});

test('data is needed once, and a file that is not there is named', async (t) => {
  await t.throwsAsync(events('-t', 'x'), { message: /what is to be published/ });
  await t.throwsAsync(events('-d', 'x', '-f', 'y'), { message: /exclude each other/ });
  const failure = await t.throwsAsync(events('-f', '/nowhere/file'), { instanceOf: Failure });
  t.is(failure?.exit, 3);
});

const delivery: Delivery = {
  target: { address: { shown: '', secure: false, prefix: '', options: {} }, appId: 'a', pubsub: 'my pubsub' },
  topic: 'a/b c+d?#%',
  token: '',
  timeoutMs: 1000,
};

test('names and metadata are escaped, so that they arrive as they were', async (t) => {
  const { path } = singleRequest(delivery, {
    data: Buffer.from(''),
    contentType: '',
    id: '',
    metadata: { 'a b': '1&2+3' },
  });
  const url = new URL(path, 'http://localhost');
  t.is(url.pathname.split('/').map(decodeURIComponent).slice(3).join('|'), 'my pubsub|a/b c+d?#%');
  t.is(url.searchParams.get('metadata.a b'), '1&2+3');
});

test('a bulk request carries JSON untouched, text as text and bytes as base64', async (t) => {
  const one = (data: string | Uint8Array, contentType: string): OutgoingEvent => {
    return { data: Buffer.from(data as string), contentType, id: '', metadata: { k: 'v' } };
  };
  const { body, path } = bulkRequest(delivery, [
    one('{"n":12345678901234567890}', 'application/json'),
    one('hello', 'text/plain'),
    one(Uint8Array.of(255), 'application/octet-stream'),
  ]);
  t.regex(path, /^\/v1\.0\/publish\/bulk\//);
  t.true(String(body).includes('"event":{"n":12345678901234567890}'));
  const entries = JSON.parse(String(body)) as { entryId: string; event: unknown; metadata: unknown }[];
  t.deepEqual(
    entries.map(({ entryId }) => entryId),
    ['0', '1', '2'],
  );
  t.deepEqual(
    entries.slice(1).map(({ event }) => event),
    ['hello', '/w=='],
  );
  t.deepEqual(entries[0]?.metadata, { k: 'v' });
});
