import test from 'ava';
import { HeaderDecoder, HeaderEncoder, HpackError, literalBytes, writeLiterals } from '../../../src/lib/hpack.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const LONG_COOKIE = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1';

test('the examples of RFC 7541, C.3: requests, without Huffman', (t) => {
  const decoder = new HeaderDecoder(1 << 16);
  const first = [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'];
  t.deepEqual(decoder.decode(hex('828684410f7777772e6578616d706c652e636f6d')), first);
  t.deepEqual(decoder.decode(hex('828684be58086e6f2d6361636865')), [...first, 'cache-control', 'no-cache']);
  t.deepEqual(decoder.decode(hex('828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565')), [
    ...[':method', 'GET', ':scheme', 'https', ':path', '/index.html', ':authority', 'www.example.com'],
    ...['custom-key', 'custom-value'],
  ]);
});

test('the examples of RFC 7541, C.6: answers with Huffman, in a table that forgets', (t) => {
  const decoder = new HeaderDecoder(1 << 16);
  const small = hex('3fe101'); // a table of 256 bytes
  const date = 'Mon, 21 Oct 2013 20:13:21 GMT';
  const location = 'https://www.example.com';
  const first = hex(
    '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
  );
  t.deepEqual(decoder.decode(Buffer.concat([small, first])), [
    ...[':status', '302', 'cache-control', 'private', 'date', date, 'location', location],
  ]);
  t.deepEqual(decoder.decode(hex('4883640effc1c0bf')), [
    ...[':status', '307', 'cache-control', 'private', 'date', date, 'location', location],
  ]);
  const third = hex(
    '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672' +
      'c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
  );
  t.deepEqual(decoder.decode(third), [
    ...[':status', '200', 'cache-control', 'private', 'date', 'Mon, 21 Oct 2013 20:13:22 GMT', 'location', location],
    ...['content-encoding', 'gzip', 'set-cookie', LONG_COOKIE],
  ]);
});

for (const [what, block] of [
  ['an index that nothing has', 'be'],
  ['the index 0', '80'],
  ['a name that is cut', '4005 6161'],
  ['a value that is cut', '4001 61 05 6161'],
  ['a number without an end', 'ffffffffff'],
  ['a table larger than was agreed', '3fe21f'],
  ['padding of more than seven bits', '4001 61 82 07ff'],
  ['padding that is not the beginning of the end', '4001 61 81 00'],
  ['the code of the end', '4001 61 84 ffffffff'],
] as const) {
  test(`${what} is refused`, (t) => {
    t.throws(() => new HeaderDecoder(1 << 16).decode(hex(block)), { instanceOf: HpackError });
  });
}

test('headers are read up to a size, though few bytes may name much, and the table stays in step', (t) => {
  const decoder = new HeaderDecoder(1000);
  const entry = Buffer.concat([hex('4001 61 7f21'), Buffer.alloc(160, 'x')]);
  t.is(decoder.decode(entry)?.[1]?.length, 160);
  t.is(decoder.decode(Buffer.concat([Buffer.alloc(7, 0xbe), hex('4001 62 01 63')])), undefined);
  t.deepEqual(decoder.decode(hex('be')), ['b', 'c']);
});

const FIELDS = [':method', 'POST', ':path', '/a.B/C', 'te', 'trailers'];

test('fields that come again are an index each, whatever was remembered between', (t) => {
  const [encoder, decoder] = [new HeaderEncoder(), new HeaderDecoder(1 << 16)];
  t.deepEqual(decoder.decode(encoder.lasting(FIELDS)), FIELDS);
  const other = [':method', 'POST', ':path', '/d.E/F', 'te', 'trailers'];
  t.deepEqual(decoder.decode(encoder.lasting(other)), other);
  const again = encoder.lasting(FIELDS);
  t.is(again.length, 3);
  t.deepEqual(decoder.decode(again), FIELDS);
});

test('to a side that remembers little or nothing all fields are spelt out, and it is told', (t) => {
  for (const tableBytes of [0, 30]) {
    const [encoder, decoder] = [new HeaderEncoder(), new HeaderDecoder(1 << 16)];
    t.true(encoder.limit(tableBytes));
    for (let i = 0; i < 2; i++) {
      const block = encoder.lasting(FIELDS);
      t.is((block[0] as number) >> 5, 1);
      t.deepEqual(decoder.decode(block), FIELDS);
    }
    t.is(encoder.remembered, 0);
  }
});

test('a side that would have to forget cannot be written to any more', (t) => {
  const encoder = new HeaderEncoder();
  encoder.lasting(FIELDS);
  t.true(encoder.limit(4096));
  t.true(encoder.limit(65_536));
  t.false(encoder.limit(100));
});

test('literals of every length are read as they were', (t) => {
  for (const length of [0, 1, 126, 127, 128, 254, 255, 16_510, 16_511, 50_000]) {
    const fields = ['x'.repeat(Math.max(length % 300, 1)), 'é'.repeat(length)];
    const bytes = Buffer.alloc(literalBytes(fields));
    t.deepEqual(new HeaderDecoder(1 << 17).decode(bytes.subarray(0, writeLiterals(bytes, 0, fields))), fields);
  }
});
