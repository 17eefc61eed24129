import test from 'ava';
import { destinationOf } from '../../../../src/brokers/kafka/outgoing.ts';
import { PARTITIONERS } from '../../../../src/brokers/kafka/partitioner.ts';

test("keys land where Dapr's client puts them", (t) => {
  // Hashes of the FNV reference, as signed numbers.
  const hashes: Record<string, number> = { '': 0x811c9dc5, a: 0xe40c292c, foobar: 0xbf9cf968 };
  for (const [key, hash] of Object.entries(hashes)) {
    for (const count of [1, 3, 7, 10]) {
      t.is(PARTITIONERS.sarama(Buffer.from(key), count), Math.abs((hash - 2 ** 32) % count), `${key} ${count}`);
    }
  }
});

test('murmur2 is that of the Java client', (t) => {
  // From its own tests.
  const hashes: Record<string, number> = {
    '21': -973932308,
    foobar: -790332482,
    'a-little-bit-long-string': -985981536,
    'a-little-bit-longer-string': -1486304829,
    lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
    abc: 479470107,
  };
  for (const [key, hash] of Object.entries(hashes)) {
    t.is(PARTITIONERS.murmur2(Buffer.from(key), 1000), (hash & 0x7fffffff) % 1000, key);
  }
});

test('crc32 is the usual one', (t) => {
  t.is(PARTITIONERS.crc32(Buffer.from('123456789'), 1000), 0xcbf43926 % 1000);
});

test('a key may have either name, a number wins, and what was delivered before leaves its number behind', (t) => {
  const key = Buffer.from('k');
  t.deepEqual(destinationOf({ partitionKey: 'k' }, 4), { key, partition: undefined });
  t.deepEqual(destinationOf({ __key: 'k', partitionNumber: '3' }, 4), { key, partition: 3 });
  t.deepEqual(destinationOf({}, 4), { key: null, partition: undefined });
  t.deepEqual(destinationOf({ partitionNumber: '9', __offset: '1' }, 4), { key: null, partition: undefined });
  for (const partitionNumber of ['4', '-1', 'one', '1.5']) t.throws(() => destinationOf({ partitionNumber }, 4));
});
