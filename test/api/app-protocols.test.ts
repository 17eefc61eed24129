/** The ways to reach an app, and what each request to it looks like (contract 2.7, 6.1, 6.6). */

import { readFileSync } from 'node:fs';
import { createServer as createHttp2, type Http2Server } from 'node:http2';
import { createServer as createHttps } from 'node:https';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { AppCallbackService, AppCallbackHealthCheckService } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { publish, startDaprd } from '../_support/daprd.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { startHttpApp, type Received, type Reply } from '../_support/http-app.ts';
import { makeCertificates } from '../_support/redis.ts';
import { until } from '../_support/until.ts';

const SUBSCRIBE = JSON.stringify([{ pubsubname: 'pubsub', topic: 'a', route: '/a' }]);

async function listening(t: ExecutionContext, server: Server | Http2Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** An app as a handler of requests; `seen` are the paths that were asked for. */
function handler(seen: string[]): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    seen.push(`${request.method} ${request.url} ${request.httpVersion}`);
    request.resume().on('end', () => {
      response.writeHead(request.url === '/dapr/config' ? 404 : 200);
      response.end(request.url === '/dapr/subscribe' ? SUBSCRIBE : '');
    });
  };
}

const certificates = (t: ExecutionContext): { key: Buffer; cert: Buffer } => {
  const path = makeCertificates((end) => t.teardown(end));
  return { key: readFileSync(path('key.pem')), cert: readFileSync(path('server.pem')) };
};

test('an app over https is reached though nobody vouches for its certificate', async (t) => {
  const seen: string[] = [];
  const port = await listening(t, createHttps(certificates(t), handler(seen) as never));
  const daprd = await startDaprd(t, { appPort: port, args: ['--app-protocol', 'https'] });
  await publish(daprd, 'a', '1');
  await until(() => seen.includes('POST /a 1.1'), 'the event arrives');
  t.true(seen.includes('GET /dapr/subscribe 1.1'));
});

test('an app over h2c is spoken to in HTTP/2 from the first byte', async (t) => {
  const seen: string[] = [];
  const port = await listening(t, createHttp2(handler(seen) as never));
  const daprd = await startDaprd(t, { appPort: port, args: ['--app-protocol', 'h2c'] });
  await publish(daprd, 'a', '1');
  await until(() => seen.includes('POST /a 2.0'), 'the event arrives');
  t.true(seen.includes('GET /dapr/subscribe 2.0'));
});

type Unary = (
  call: { metadata: { get(name: string): unknown[] } },
  done: (error: object | null, response?: object) => void,
) => void;

test('an app over gRPC with TLS is reached; its health is asked for without its token', async (t) => {
  const { key, cert } = certificates(t);
  const server = new GrpcServer();
  t.teardown(() => server.forceShutdown());
  const tokens: Record<string, unknown[]> = {};
  let isWell = true;
  const told =
    (name: string, response: object): Unary =>
    ({ metadata }, done) => {
      tokens[name] = metadata.get('dapr-api-token');
      if (name === 'health' && !isWell) done({ code: 2, details: 'not well' });
      else done(null, response);
    };
  const subscription = { pubsubName: 'pubsub', topic: 'a', metadata: {}, deadLetterTopic: '' };
  server.addService(AppCallbackService, {
    listTopicSubscriptions: told('list', {
      subscriptions: [{ ...subscription, routes: undefined, bulkSubscribe: undefined }],
    }),
    onTopicEvent: told('event', { status: 0 }),
  });
  server.addService(AppCallbackHealthCheckService, { healthCheck: told('health', {}) });
  const port = await new Promise<number>((resolve, reject) => {
    const how = ServerCredentials.createSsl(null, [{ private_key: key, cert_chain: cert }]);
    server.bindAsync('127.0.0.1:0', how, (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  const args = ['--app-protocol', 'grpcs', '--enable-app-health-check', '--app-health-probe-interval', '1'];
  const daprd = await startDaprd(t, { appPort: port, args, env: { APP_API_TOKEN: 'mine' } });
  await until(() => daprd.log().includes('app is subscribed to the following topics'), 'the app is well, and asked');
  await publish(daprd, 'a', '1');
  await until(() => tokens['event'], 'the event arrives');
  t.deepEqual(tokens, { list: ['mine'], event: ['mine'], health: [] });
  isWell = false;
  await until(() => daprd.log().includes('App entered un-healthy status'), 'any error means that it is not');
  t.pass();
});

async function delivered(
  t: ExecutionContext,
  query: string,
  reply: (received: Received, nth: number) => Reply | Promise<Reply> = () => 200,
  args: readonly string[] = [],
) {
  const app = await startHttpApp({ subscribe: SUBSCRIBE, reply });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, args });
  t.is((await publish(daprd, 'a', '1', { query })).status, 204);
  return {
    app,
    daprd,
    first: (await until(() => app.received.length > 0 && app.received, 'the event arrives'))[0] as Received,
  };
}

test('metadata that looks like gRPC’s own comes with dapr- before its name, and who delivers says so', async (t) => {
  const { first } = await delivered(t, 'metadata.grpc-timeout=1S&metadata.%3Amethod=GET&metadata.grpc-trace-bin=x');
  t.like(first.headers, { 'dapr-grpc-timeout': '1S', 'dapr-method': 'GET', 'user-agent': 'dapr-pubsub' });
  t.false('grpc-timeout' in first.headers);
});

test('of what an app answers only the first JSON value counts', async (t) => {
  const reply = (_received: Received, nth: number): Reply => ({
    status: 200,
    body: nth === 1 ? '{"status":"RETRY"} {"status":"SUCCESS"}' : '{"status":"SUCCESS"} {"status":"RETRY"}',
  });
  const { app, daprd } = await delivered(t, '', reply);
  await until(() => app.received.length === 2, 'it comes again after the first answer');
  await publish(daprd, 'a', '2');
  await until(() => app.received.length === 4, 'the next one comes twice, too');
  t.is(new Set(app.received.map(({ event }) => event['id'])).size, 2);
});

test('an answer that is larger than a body may be is a failure', async (t) => {
  const reply = (_received: Received, nth: number): Reply =>
    nth === 1 ? { status: 200, body: 'x'.repeat(5000) } : 200;
  const { app, daprd } = await delivered(t, '', reply, ['--max-body-size', '4Ki']);
  await until(() => app.received.length === 2, 'the event comes again');
  t.true(await until(() => daprd.log().includes('the answer of the app is too large'), 'it is logged'));
});

test('what an app answers to a call in pieces goes on as a whole', async (t) => {
  const app = createHttp((request, response) => {
    if (request.url !== '/pieces') return response.writeHead(404).end();
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.write('one ');
    setImmediate(() => response.end('two'));
  });
  const daprd = await startDaprd(t, { appPort: await listening(t, app) });
  const answer = await fetch(`${daprd.http}/v1.0/invoke/app/method/pieces`);
  t.is(await answer.text(), 'one two');
  t.is(answer.headers.get('content-length'), '7');
});

/** Connections to a port of 127.0.0.1 on which the system asks from time to time whether the other side is still there. */
const keptAlive = (port: number): string[] => {
  const remote = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const rows = readFileSync('/proc/net/tcp', 'utf8').split('\n');
  return rows.filter((row) => row.trim().split(/ +/)[2] === remote && row.trim().split(/ +/)[5]?.startsWith('02:'));
};

for (const protocol of ['http', 'grpc']) {
  const only = process.platform === 'linux' ? test : test.skip;
  only(`that the host of an app over ${protocol} is gone is noticed while it has an event in hand`, async (t) => {
    const { promise: held, resolve: release } = Promise.withResolvers<number>();
    const app =
      protocol === 'http'
        ? await startHttpApp({ subscribe: SUBSCRIBE, reply: () => held })
        : await startGrpcApp({ subscriptions: [{ topic: 'a' }], replyLater: () => held });
    t.teardown(() => app.close());
    const daprd = await startDaprd(t, { appPort: app.port, args: ['--app-protocol', protocol] });
    await publish(daprd, 'a', '1');
    await until(() => app.received.length === 1, 'the app has it');
    await until(() => keptAlive(app.port).length === 1, 'its connection is probed');
    t.pass();
    release(protocol === 'http' ? 200 : 0);
  });
}
