/** What goes where, in which order, and what holds up what. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { InboundMessage } from '../../src/core/broker.ts';
import { NEVER, publish, Recorder, retry, subscribe, SUCCESS, text, texts, textOf } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
test.before(async () => {
  server = await KafkaServer.start((end) => ends.push(end), { properties: { 'num.partitions': '4' } });
});
test.after.always(() => Promise.all(ends.map((end) => end())));

let groups = 0;
const open = (t: ExecutionContext, settings: Record<string, string> = {}, group = `group-${++groups}`) =>
  openSite(t, { brokers: server.address, ...settings }, group);

const keyed = (key: string, content: string) => ({ ...text(content), metadata: { partitionKey: key } });
const partitionsOf = (messages: readonly InboundMessage[]): Set<string | undefined> =>
  new Set(messages.map(({ metadata }) => metadata['__partition']));

test.serial('a thousand messages of one key reach two groups in order', async (t) => {
  const { broker } = await open(t);
  const recorders = [new Recorder(), new Recorder()];
  for (const recorder of recorders) await subscribe((await open(t)).broker, 'one-key', recorder);
  const all = texts('m', 1000);
  const failures = await Promise.all(all.map((content) => broker.publish('one-key', [keyed('k', content)])));
  t.deepEqual(failures.flat(), []);
  for (const recorder of recorders) {
    await until(() => recorder.messages.length === 1000, 'all arrived');
    t.deepEqual(recorder.texts, all);
    t.is(partitionsOf(recorder.messages).size, 1);
  }
});

test.serial('a partition can be asked for by its number, and one that is not there is refused alone', async (t) => {
  const { broker } = await open(t);
  const recorder = new Recorder();
  await subscribe((await open(t)).broker, 'numbered', recorder);
  const numbered = (content: string, number: string) => ({ ...text(content), metadata: { partitionNumber: number } });
  const list = texts('m', 100).map((content) => numbered(content, '3'));
  t.deepEqual(await broker.publish('numbered', list), []);
  const failures = await broker.publish('numbered', [numbered('a', '4'), numbered('b', '-1'), numbered('last', '3')]);
  t.deepEqual(failures.map(({ index }) => index), [0, 1]); // prettier-ignore
  t.regex(failures[0]?.error.message ?? '', /partitionNumber '4' is none of the 4 partitions/);
  await until(() => recorder.messages.length === 101, 'the others arrived');
  t.deepEqual(recorder.texts, [...texts('m', 100), 'last']);
  t.deepEqual(partitionsOf(recorder.messages), new Set(['3']));
});

test.serial('an independent client finds key, headers and value as Dapr writes them', async (t) => {
  const { broker } = await open(t, { excludeHeaderMetaRegex: '^secret' });
  const metadata = { partitionKey: 'kéy', ttlInSeconds: '60', rawPayload: 'true', secretToken: 's', __offset: '7' };
  t.deepEqual(await broker.publish('wire', [{ ...text('{"a":1}'), metadata }]), []);
  t.deepEqual(await broker.publish('wire', [{ ...text('null'), metadata: { __key: 'kéy' } }]), []);
  const consumer = server.client().consumer({ groupId: 'independent' });
  t.teardown(() => consumer.disconnect());
  await consumer.connect();
  await consumer.subscribe({ topic: 'wire', fromBeginning: true });
  const records: unknown[] = [];
  await consumer.run({
    eachMessage: async ({ message: { key, value, headers } }) => {
      const plain = Object.entries(headers ?? {}).map(([name, one]) => [name, String(one)]);
      records.push({ key: key?.toString(), value: value?.toString() ?? null, headers: Object.fromEntries(plain) });
    },
  });
  await until(() => records.length === 2, 'both are there');
  t.deepEqual(records, [
    { key: 'kéy', value: '{"a":1}', headers: { partitionKey: 'kéy', ttlInSeconds: '60', rawPayload: 'true' } },
    { key: 'kéy', value: null, headers: { __key: 'kéy' } },
  ]); // prettier-ignore
});

test.serial('what an independent client wrote arrives with its metadata, a tombstone as null', async (t) => {
  const producer = server.client().producer();
  await producer.connect();
  const headers = { 'content-type': 'text/plain', many: ['first', 'last'] };
  await producer.send({ topic: 'foreign', messages: [{ key: 'a b', value: null, headers, partition: 2 }] });
  await producer.disconnect();
  const [plain, escaped] = [new Recorder(), new Recorder()];
  await subscribe((await open(t)).broker, 'foreign', plain);
  await subscribe((await open(t, { escapeHeaders: 'true' })).broker, 'foreign', escaped);
  await until(() => plain.messages.length === 1 && escaped.messages.length === 1, 'it arrived');
  t.is(plain.texts[0], 'null');
  t.like(plain.messages[0]?.metadata, {
    __key: 'a b',
    __topic: 'foreign',
    __partition: '2',
    __offset: '0',
    'content-type': 'text/plain',
    many: 'last',
  });
  t.like(escaped.messages[0]?.metadata, { __key: 'a+b', 'content-type': 'text%2Fplain' });
});

for (const compression of ['gzip', 'snappy', 'lz4', 'zstd']) {
  test.serial(`what is compressed with ${compression} is taken by the broker and arrives`, async (t) => {
    const { broker } = await open(t, { compression });
    const recorder = new Recorder();
    await subscribe((await open(t)).broker, compression, recorder);
    const noise = Buffer.from(Array.from({ length: 100_000 }, () => Math.random() * 256));
    const contents = [Buffer.alloc(200_000, 'repeated '), noise, Buffer.from('short'), Buffer.alloc(0)];
    const messages = contents.map((data) => ({ ...text(''), data, metadata: { partitionKey: 'k' } }));
    t.deepEqual(await broker.publish(compression, messages), []);
    await until(() => recorder.messages.length === contents.length, 'they arrived');
    contents.forEach((content, index) => t.true(content.equals(recorder.messages[index]?.data ?? Buffer.from('?'))));
  });
}

for (const producerRequiredAcks of ['none', 'local']) {
  test.serial(`what is published with producerRequiredAcks ${producerRequiredAcks} arrives in order`, async (t) => {
    const { broker } = await open(t, { producerRequiredAcks });
    const recorder = new Recorder();
    await subscribe(broker, `acks-${producerRequiredAcks}`, recorder);
    const all = texts('m', 300);
    for (const content of all) {
      t.deepEqual(await broker.publish(`acks-${producerRequiredAcks}`, [keyed('k', content)]), []);
    }
    await until(() => recorder.messages.length >= all.length, 'all arrived');
    t.deepEqual(recorder.texts, all);
  });
}

test.serial('a retry stops its own key only, and with ordering by partition all of it', async (t) => {
  for (const [ordering, passes] of [
    ['key', true],
    ['partition', false],
  ] as const) {
    // prettier-ignore
    const { broker } = await open(t, { ordering });
    const topic = `retry-${ordering}`;
    const recorder = new Recorder((message) =>
      textOf(message) === 'bad-0' && message.attempt < 4 ? retry(100) : SUCCESS,
    );
    await subscribe(broker, topic, recorder);
    const at = (key: string, content: string) => {
      const { metadata, ...message } = keyed(key, content);
      return { ...message, metadata: { ...metadata, partitionNumber: '0' } };
    };
    const list = [at('bad', 'bad-0'), at('bad', 'bad-1'), ...texts('good', 20).map((one) => at(one, one))];
    t.deepEqual(await broker.publish(topic, list), []);
    await until(() => recorder.texts.includes('bad-1') && recorder.texts.includes('good-19'), 'all arrived');
    const place = (content: string): number => recorder.texts.lastIndexOf(content);
    t.true(place('bad-0') < place('bad-1'));
    t.is(place('good-19') < place('bad-0'), passes);
  }
});

test.serial('twenty subscriptions at once are one join', async (t) => {
  const { broker } = await open(t, { clientId: 'counting' }, 'counted');
  await Promise.all(texts('join', 20).map((topic) => subscribe(broker, topic, new Recorder())));
  const admin = server.client().admin();
  await admin.connect();
  t.teardown(() => admin.disconnect());
  const { groups: [group] } = await admin.describeGroups(['counted']); // prettier-ignore
  t.is(group?.members.length, 1);
  t.is(group?.protocol, 'range');
  // The first join of a group makes its first generation; a commit of another is refused.
  t.deepEqual(await generationOf(broker), 1);
});

/** Which generation of its group a broker is in. */
const generationOf = async (broker: unknown): Promise<number> =>
  (broker as { membership: { generation: number } }).membership.generation;

test.serial('a handler that takes three times the session keeps its partition', async (t) => {
  const { broker } = await open(t, { sessionTimeout: '2s' });
  let signal: AbortSignal | undefined;
  const recorder = new Recorder((_, given) => {
    signal = given;
    return new Promise((resolve) => setTimeout(() => resolve(SUCCESS), 6000));
  });
  await subscribe(broker, 'long', recorder);
  await publish(broker, 'long', 'x');
  await until(async () => recorder.messages.length > 0 && (await broker.stats('long')).pending === 0, 'it is settled');
  t.false(signal?.aborted);
  t.is(recorder.messages.length, 1);
  t.is(await generationOf(broker), 1);
});

test.serial('a partition whose handlers hang does not hold up others', async (t) => {
  const { broker } = await open(t, { channelBufferSize: '10' });
  const recorder = new Recorder(({ metadata }) =>
    metadata['__partition'] === '0' ? new Promise(() => undefined) : SUCCESS,
  );
  const subscription = await subscribe(broker, 'hanging', recorder);
  const to = (partitionNumber: string, content: string) => ({ ...text(content), metadata: { partitionNumber } });
  await broker.publish(
    'hanging',
    texts('stuck', 200).map((content) => to('0', content)),
  );
  await broker.publish(
    'hanging',
    texts('m', 500).map((content) => to('1', content)),
  );
  await until(() => recorder.texts.filter((one) => one.startsWith('m')).length === 500, 'the others were handled');
  t.like(await broker.stats('hanging'), { pending: 1, lag: 199 });
  await subscription.close(AbortSignal.abort());
});

test.serial('a partition that is behind does not wait for those that are not', async (t) => {
  const { broker } = await open(t, { channelBufferSize: '5', consumerFetchDefault: '1000' });
  const metadata = { partitionNumber: '0' };
  for (const content of texts('m', 200)) {
    const ten = Array.from({ length: 10 }, () => ({ ...text(content), data: Buffer.alloc(100), metadata }));
    t.deepEqual(await broker.publish('behind', ten), []);
  }
  const recorder = new Recorder();
  await subscribe(broker, 'behind', recorder);
  // Two hundred reads: none may be held up by one that waits for the other partitions.
  await until(() => recorder.messages.length === 2000, 'all arrived', 40_000);
});

test.serial('partitions that are added are read from their start', async (t) => {
  const { broker } = await open(t, { initialOffset: 'newest', clientConnectionTopicMetadataRefreshInterval: '300ms' });
  await server.createTopic('growing', 1);
  const recorder = new Recorder();
  await subscribe(broker, 'growing', recorder);
  await publish(broker, 'growing', 'before');
  const admin = server.client().admin();
  await admin.connect();
  await admin.createPartitions({ topicPartitions: [{ topic: 'growing', count: 4 }] });
  await admin.disconnect();
  const { broker: other } = await open(t);
  const all = ['1', '2', '3'].map((partitionNumber) => ({ ...text(partitionNumber), metadata: { partitionNumber } }));
  await until(async () => (await other.publish('growing', all)).length === 0, 'they can be written to');
  await until(() => new Set(recorder.texts).size >= 4, 'they are read');
  t.deepEqual([...new Set(recorder.texts)].toSorted(), ['1', '2', '3', 'before']);
});

test.serial(
  'a new group begins at the end, and goes on from there when it comes back without having handled anything',
  async (t) => {
    const { broker } = await open(t, {}, 'publisher');
    await publish(broker, 'newest', 'old');
    const first = await open(t, { initialOffset: 'newest' }, 'latecomer');
    const early = new Recorder();
    await subscribe(first.broker, 'newest', early);
    await first.broker.close();
    await publish(broker, 'newest', 'between');
    const recorder = new Recorder();
    await subscribe((await open(t, { initialOffset: 'newest' }, 'latecomer')).broker, 'newest', recorder);
    await publish(broker, 'newest', 'new');
    await until(() => recorder.messages.length === 2, 'they arrived');
    t.deepEqual(recorder.texts.toSorted(), ['between', 'new']);
    t.deepEqual(early.texts, []);
  },
);

test.serial('what was settled out of order does not come again after a stop, what was not does', async (t) => {
  const first = await open(t, { ordering: 'none' }, 'gaps');
  const before = new Recorder((message) => (textOf(message).endsWith('7') ? retry(60_000) : SUCCESS));
  await subscribe(first.broker, 'gaps', before);
  const list = texts('m', 100).map((content) => ({ ...text(content), metadata: { partitionNumber: '2' } }));
  await first.broker.publish('gaps', list);
  await until(
    async () => before.messages.length === 100 && (await first.broker.stats('gaps')).pending === 10,
    'ten wait',
  );
  await first.broker.close();
  const second = await open(t, { ordering: 'none' }, 'gaps');
  t.like(await second.broker.stats('gaps'), { pending: 10, lag: 0, parked: 0 });
  const after = new Recorder();
  const subscription = await subscribe(second.broker, 'gaps', after);
  await second.broker.publish('gaps', [{ ...text('new'), metadata: { partitionNumber: '2' } }]);
  await until(() => after.texts.includes('new'), 'what is new arrives');
  t.deepEqual(after.texts, ['new']);
  t.like(await second.broker.stats('gaps'), { pending: 10, lag: 0 });
  await subscription.close(NEVER);
});

test.serial('a message of the largest size goes, one byte more is refused', async (t) => {
  const { broker } = await open(t, { maxMessageBytes: '200000' });
  const sized = (size: number) => ({ ...text(''), data: Buffer.alloc(size, 1) });
  const failures = await broker.publish('sizes', [sized(200_000), sized(200_001), sized(200_000)]);
  t.deepEqual(failures.map(({ index }) => index), [1]); // prettier-ignore
  t.is(failures[0]?.error.message, 'the message has 200001 bytes, 200000 is the limit');
});

test.serial(
  'where the brokers take only smaller batches a batch goes in parts, and what is too large alone fails alone',
  async (t) => {
    const { broker } = await open(t, { maxMessageBytes: '4000000' });
    const admin = server.client().admin();
    await admin.connect();
    const configEntries = [{ name: 'max.message.bytes', value: '50000' }];
    await admin.createTopics({ topics: [{ topic: 'small', numPartitions: 1, replicationFactor: 1, configEntries }] });
    await admin.disconnect();
    const sized = (size: number) => ({ ...text(''), data: Buffer.alloc(size, 1) });
    const list = [...Array.from({ length: 20 }, () => sized(10_000)), sized(60_000), sized(10_000)];
    const failures = await broker.publish('small', list);
    t.deepEqual(failures.map(({ index }) => index), [20]); // prettier-ignore
  },
);

test.serial(
  'Avro with a schema of the registry goes there and back, and a newer schema is used when its time has come',
  async (t) => {
    const schemas: string[] = [];
    // The registry is a small one of our own: the real one is not among the packages of Apache Kafka.
    const registry = createServer((request, response) => {
      const id = /^\/schemas\/ids\/(\d+)$/.exec(request.url ?? '')?.[1];
      const index = id === undefined ? schemas.length - 1 : Number(id) - 1;
      const isKnown = id !== undefined || request.url === '/subjects/avro-value/versions/latest';
      response.writeHead(isKnown && schemas[index] ? 200 : 404, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ id: index + 1, schema: schemas[index] }));
    });
    await new Promise<void>((resolve) => registry.listen(0, '127.0.0.1', resolve));
    t.teardown(() => void registry.close());
    const fields = [{ name: 'name', type: 'string' }, { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } }]; // prettier-ignore
    schemas.push(JSON.stringify({ type: 'record', name: 'r', fields }));
    const url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}`;
    const settings = { schemaRegistryURL: url, schemaLatestVersionCacheTTL: '500ms' };
    const { broker } = await open(t, settings);
    const recorder = new Recorder();
    const raw = new Recorder();
    await broker.subscribe('avro', { metadata: { valueSchemaType: 'avro' } }, recorder.handler);
    await subscribe((await open(t)).broker, 'avro', raw);
    const metadata = { rawPayload: 'true', valueSchemaType: 'Avro', partitionKey: 'k' };
    const all = Array.from({ length: 200 }, (_, index) =>
      JSON.stringify({ name: `n${index}`, at: 1795525135418 + index }),
    );
    t.deepEqual(await broker.publish('avro', all.map((content) => ({ ...text(content), metadata }))), []); // prettier-ignore
    await until(() => recorder.messages.length === 200 && raw.messages.length === 200, 'all arrived');
    t.deepEqual(recorder.texts, all);
    t.deepEqual([...(raw.messages[0]?.data.subarray(0, 5) ?? [])], [0, 0, 0, 0, 1]);
    const [failure] = await broker.publish('avro', [{ ...text('{"name":1}'), metadata }]);
    t.regex(failure?.error.message ?? '', /does not fit the schema of avro-value/);
    const optional = { name: 'more', type: ['null', 'string'], default: null };
    schemas.push(JSON.stringify({ type: 'record', name: 'r', fields: [...fields, optional] }));
    const newer = '{"name":"x","at":1,"more":"ÿ"}';
    const arrived = (): boolean => recorder.texts.some((one) => one === JSON.stringify(JSON.parse(newer)));
    await until(async () => {
    t.deepEqual(await broker.publish('avro', [{ ...text(newer), metadata }]), []);
    return arrived();
  }, 'the newer schema is used'); // prettier-ignore
    const [missing] = await broker.publish('none', [{ ...text('{}'), metadata }]);
    t.regex(missing?.error.message ?? '', /schema registry: \/subjects\/none-value\/versions\/latest: status 404/);
  },
);
