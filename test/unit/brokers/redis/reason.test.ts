import test from 'ava';
import { reasonOf } from '../../../../src/brokers/redis/reason.ts';

test('what the client library says of itself is said in words of the network', (t) => {
  const closed = ['Connection is closed.', "Stream isn't writeable and enableOfflineQueue options is false"];
  for (const message of closed) t.is(reasonOf(new Error(message)), 'the connection was closed');
  t.is(
    reasonOf(new Error("Socket timeout. Expecting data, but didn't receive any in 5000ms.")),
    'the server did not answer within 5000ms (readTimeout)',
  );
  t.regex(
    reasonOf(new Error('Unknown RESP type 72 "H". Please report this.')),
    /^what came is no answer of a Redis server/,
  );
  t.is(reasonOf(new Error('None of startup nodes is available')), 'no node of the cluster answers');
});

test('what the server or the system said stays as it is', (t) => {
  for (const message of ['OOM command not allowed', 'connect ECONNREFUSED 127.0.0.1:6379']) {
    t.is(reasonOf(new Error(message)), message);
  }
});
