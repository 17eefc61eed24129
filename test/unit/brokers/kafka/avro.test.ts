import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { Avro } from '../../../../src/brokers/kafka/avro.ts';
import { readSettings } from '../../../../src/brokers/kafka/settings.ts';

test('user and password may stand in the address of the registry, as for Go’s clients', async (t) => {
  // The real registry is not among the packages of Apache Kafka.
  const asked: (string | undefined)[] = [];
  const registry = createServer((request, response) => {
    asked.push(`${request.url} ${request.headers.authorization}`);
    response.end(JSON.stringify({ id: 7, schema: '"string"' }));
  });
  await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void registry.close());
  const at = `127.0.0.1:${(registry.address() as AddressInfo).port}`;
  const avro = (schemaRegistryURL: string, more = {}): Avro =>
    new Avro(readSettings({ brokers: 'a:1', authType: 'none', schemaRegistryURL, ...more }));
  await avro(`http://me:s%403cret@${at}/base/`).encode('t', Buffer.from('"x"'));
  const key = { schemaRegistryAPIKey: 'key', schemaRegistryAPISecret: 'secret' };
  await avro(`http://me:s%403cret@${at}`, key).encode('t', Buffer.from('"x"'));
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
  t.deepEqual(asked, [
    `/base/subjects/t-value/versions/latest ${basic('me:s@3cret')}`,
    `/subjects/t-value/versions/latest ${basic('key:secret')}`,
  ]);
  const { message } = await t.throwsAsync(avro('http://me:s3cret@a b').encode('t', Buffer.from('"x"')));
  t.notRegex(message, /s3cret/);
});
