import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import test from 'ava';
import { startHttpServer } from '../../../src/http/server.ts';
import { until } from '../../_support/until.ts';

test('a stop waits for every request in hand, also for several on one connection', async (t) => {
  const inHand: ServerResponse[] = [];
  const server = await startHttpServer((_request, response) => void inHand.push(response), {
    addresses: ['127.0.0.1'],
    port: { port: 0, search: false },
    socket: '',
    maxHeaderBytes: 8192,
  });
  const client = connect(server.port, '127.0.0.1');
  let received = '';
  client.on('data', (chunk: Buffer) => (received += chunk.toString()));
  const ended = once(client, 'close');
  client.write('GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\n');
  await until(() => inHand.length === 2, 'both are in hand');
  const closed = server.close(new AbortController().signal);
  inHand[0]?.end('first');
  await until(() => received.includes('first'), 'the first is answered');
  inHand[1]?.end('second');
  await Promise.all([closed, ended]);
  t.true(received.includes('second'));
});
