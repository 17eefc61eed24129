import test from 'ava';
import { SubscribeTopicEventsResponseAlpha1 } from '../../../gen/dapr/proto/runtime/v1/pubsub.ts';
import { StreamRecipient } from '../../../src/channels/stream.ts';
import { eventOf, NEVER } from './_event.ts';

const event = (data: string) => eventOf({ body: `{"id":"same","datacontenttype":"text/plain","data":"${data}"}` });

function dataOf(message: Uint8Array): string {
  const { subscribeTopicEventsResponseType: is } = SubscribeTopicEventsResponseAlpha1.decode(message);
  return is?.$case === 'eventMessage' ? Buffer.from(is.value.data).toString() : '';
}

function recipient() {
  const sent: string[] = [];
  let drained: () => void = () => undefined;
  const client = {
    isBehind: false,
    write: (message: Uint8Array) => void sent.push(dataOf(message)),
    onDrain: (listener: () => void) => void (drained = listener),
  };
  const stream = new StreamRecipient(client, { unknownData: 'bytes', maxMessageBytes: 1000 });
  stream.start();
  const read = (): void => {
    client.isBehind = false;
    drained();
  };
  return { stream, sent, client, read };
}

test('of two events with one id the second is sent when the first was answered, so that no answer goes to the other', async (t) => {
  const { stream, sent } = recipient();
  const first = stream.deliver(event('1'), NEVER);
  const second = stream.deliver(event('2'), NEVER);
  await Promise.resolve();
  t.deepEqual(sent, ['1']);
  t.true(stream.processed('same', { status: 1 }));
  t.is((await first).kind, 'retry');
  t.deepEqual(sent, ['1', '2']);
  t.true(stream.processed('same', { status: 0 }));
  t.is((await second).kind, 'success');
  t.false(stream.processed('same', { status: 0 }));
});

test('giving up an event that is not sent yet does not answer the one that is', async (t) => {
  const { stream, sent } = recipient();
  const giveUp = new AbortController();
  const first = stream.deliver(event('1'), NEVER);
  const second = stream.deliver(event('2'), giveUp.signal);
  await Promise.resolve();
  giveUp.abort();
  t.is((await second).kind, 'retry');
  t.true(stream.processed('same', { status: 2 }));
  t.is((await first).kind, 'drop');
  t.deepEqual(sent, ['1']);
});

test('a stream that ends answers all that wait and sends none of them', async (t) => {
  const { stream, sent } = recipient();
  const answers = ['1', '2', '3'].map((data) => stream.deliver(event(data), NEVER));
  await Promise.resolve();
  stream.close();
  t.deepEqual(
    (await Promise.all(answers)).map(({ kind }) => kind),
    ['retry', 'retry', 'retry'],
  );
  t.deepEqual(sent, ['1']);
});

test('an event that is longer than a message may be fails by itself: sending it would end the stream', async (t) => {
  const { stream, sent } = recipient();
  t.like(await stream.deliver(event('x'.repeat(1000)), NEVER), { kind: 'retry', code: 8 });
  void stream.deliver(event('x'.repeat(900)), NEVER);
  await Promise.resolve();
  t.is(sent.length, 1);
});

test('a client that is behind with reading is sent what still waits, and no more, when it has read', async (t) => {
  const { stream, sent, client, read } = recipient();
  client.isBehind = true;
  const giveUp = new AbortController();
  const first = stream.deliver(event('1'), giveUp.signal);
  const second = stream.deliver(event('2'), NEVER);
  await Promise.resolve();
  giveUp.abort();
  t.is((await first).kind, 'retry');
  t.deepEqual(sent, []);
  read();
  t.deepEqual(sent, ['2']);
  read();
  t.deepEqual(sent, ['2']);
  t.true(stream.processed('same', { status: 0 }));
  t.is((await second).kind, 'success');
});

test('what was given up before the stream was live is not sent', async (t) => {
  const { stream, sent } = recipient();
  t.is((await stream.deliver(event('1'), AbortSignal.abort())).kind, 'retry');
  t.deepEqual(sent, []);
});

test('an answer finds its event also where the id is no well-formed text, or was written twice', async (t) => {
  const { stream } = recipient();
  for (const [body, id] of [
    ['{"id":"\\ud800"}', '\ufffd'],
    ['{"id":"a","id":"b"}', 'b'],
    ['{"id":"a","id":1}', ''],
  ] as const) {
    const answer = stream.deliver(eventOf({ body }), NEVER);
    await Promise.resolve();
    t.true(stream.processed(id, { status: 0 }), body);
    t.is((await answer).kind, 'success');
  }
});
