import test from 'ava';
import { codecOf, CODECS } from '../../../../src/brokers/kafka/compression.ts';
import { crc32c } from '../../../../src/brokers/kafka/crc32c.ts';
import { decodeHeaders, encodeHeaders, escapeText } from '../../../../src/brokers/kafka/headers.ts';
import { decodeBatches, encodeBatch, NOBODY, type OutboundRecord } from '../../../../src/brokers/kafka/record-batch.ts';

const record = (value: string | null, key: string | null = null) => ({
  key: key === null ? null : Buffer.from(key),
  value: value === null ? null : Buffer.from(value),
  headers: encodeHeaders({ name: 'ünïcode' }, undefined),
  timestamp: 1_795_525_135_418,
});

test('the check sum is that of the standard', (t) => {
  t.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  t.is(crc32c(Buffer.alloc(32)), 0x8a9136aa);
});

test('records come back as they were, with every codec', async (t) => {
  const records = [record('one', 'k'), record(null, 'k'), record(''), record('x'.repeat(100_000))];
  for (const codec of Object.values(CODECS)) {
    const { records: read, nextOffset } = await decodeBatches(await encodeBatch(records, NOBODY, 0, codec), 0, codecOf);
    const plain = ({ key, value, headers, timestamp }: OutboundRecord) => ({ key, value, headers, timestamp });
    t.deepEqual(read.map(plain), records.map(plain));
    t.deepEqual(read.map((one) => plain(one.copy())), records.map(plain)); // prettier-ignore
    t.deepEqual(read.map(({ offset }) => offset), [0, 1, 2, 3]); // prettier-ignore
    t.is(nextOffset, 4);
  }
});

test('a batch that is cut off waits for the next read, what is before the offset is left out', async (t) => {
  const batch = await encodeBatch([record('a'), record('b')], NOBODY, 0, undefined);
  const second = Buffer.from(batch);
  second.writeBigInt64BE(2n, 0);
  const { records, nextOffset } = await decodeBatches(Buffer.concat([batch, second.subarray(0, -1)]), 1, codecOf);
  t.deepEqual(records.map(({ value }) => String(value)), ['b']); // prettier-ignore
  t.is(nextOffset, 2);
});

test('a damaged batch is an error', async (t) => {
  const batch = await encodeBatch([record('a')], NOBODY, 0, undefined);
  batch[batch.length - 1] = (batch.at(-1) as number) ^ 1;
  await t.throwsAsync(decodeBatches(batch, 0, codecOf), { message: 'the check sum of a batch is wrong' });
});

test('what is before a damaged batch is read', async (t) => {
  const batch = await encodeBatch([record('a')], NOBODY, 0, undefined);
  const damaged = Buffer.from(batch);
  damaged.writeBigInt64BE(1n, 0);
  damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1;
  const { records, nextOffset } = await decodeBatches(Buffer.concat([batch, damaged]), 0, codecOf);
  t.deepEqual(records.map(({ value }) => String(value)), ['a']); // prettier-ignore
  t.is(nextOffset, 1);
});

test('headers keep their names, those of a delivery and excluded ones are left out', (t) => {
  const metadata = { a: '1', __offset: '7', secret: 's', empty: '', ключ: 'значение' };
  const read: Record<string, string> = {};
  decodeHeaders(encodeHeaders(metadata, /^secret/), { excluded: undefined, escape: false }, read);
  t.deepEqual(read, { a: '1', empty: '', ключ: 'значение' });
  t.is(escapeText("a b&c=d/é(')*~"), 'a+b%26c%3Dd%2F%C3%A9%28%27%29%2A~');
});
