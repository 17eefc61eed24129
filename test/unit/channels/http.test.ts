import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { openHttpChannel } from '../../../src/channels/http.ts';
import { INIT_RETRY } from '../../../src/core/retry-policy.ts';
import { until } from '../../_support/until.ts';
import { memoryLog } from '../config/_support.ts';
import { eventOf, NEVER } from './_event.ts';

test('no more than 1024 connections are opened to an app; what is more waits its turn', async (t) => {
  const held: ServerResponse[] = [];
  const answer = (response: ServerResponse): void => void response.writeHead(200).end();
  let isHolding = true;
  let connections = 0;
  const server = createServer((request, response) => {
    request.resume();
    if (isHolding) held.push(response);
    else answer(response);
  });
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const channel = await openHttpChannel({
    address: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    tls: false,
    http2: false,
    appId: 'app',
    token: { header: 'dapr-api-token', value: '' },
    maxConcurrency: 0,
    healthPath: '/healthz',
    maxBodyBytes: 0,
    traffic: undefined,
    initRetry: INIT_RETRY,
    log: memoryLog(),
  });
  t.teardown(async () => {
    await channel.close();
    server.close();
  });
  const deliveries = Array.from({ length: 1100 }, () => channel.deliver(eventOf(), NEVER));
  await until(() => held.length === 1024, 'as many are in hand', 30_000);
  isHolding = false;
  held.forEach(answer);
  const answers = await Promise.all(deliveries);
  t.true(answers.every(({ kind }) => kind === 'success'));
  t.is(connections, 1024);
});
