import test from 'ava';
import { TopicEventRequest } from '../../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { encode } from '../../../src/channels/message-writer.ts';

const message = (data: Buffer, specVersion = '1.0'): TopicEventRequest => ({
  id: '1',
  source: 's',
  type: 't',
  specVersion,
  dataContentType: 'text/plain',
  data,
  topic: 'orders',
  pubsubName: 'pubsub',
  path: '/p',
  extensions: { time: 'now' },
});

test('messages one after the other are encoded as each alone, small after large', (t) => {
  for (const size of [10, 5_000_000, 0, 70_000, 1]) {
    const one = message(Buffer.alloc(size, 1));
    t.true(Buffer.from(encode(TopicEventRequest, one)).equals(TopicEventRequest.encode(one).finish()), `${size} bytes`);
  }
});

test('a message that cannot be encoded leaves nothing in the next one', (t) => {
  const broken = { ...message(Buffer.from('x')), extensions: { big: 1n as unknown } };
  t.throws(() => encode(TopicEventRequest, broken as TopicEventRequest));
  const whole = message(Buffer.from('y'));
  t.deepEqual(Buffer.from(encode(TopicEventRequest, whole)), Buffer.from(TopicEventRequest.encode(whole).finish()));
});
