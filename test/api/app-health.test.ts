import { createServer } from 'node:http';
import test, { type ExecutionContext } from 'ava';
import { publish, startDaprd, type Daprd } from '../_support/daprd.ts';
import { until } from '../_support/until.ts';

/** An app whose health can be set. */
async function startApp(t: ExecutionContext) {
  const app = { healthy: false, isConfused: false, received: 0, asked: 0, probed: 0, port: 0 };
  const server = createServer((request, response) => {
    request.resume();
    if (request.url === '/healthy') {
      app.probed++;
      response.writeHead(app.healthy ? 200 : 503);
    } else if (request.url === '/dapr/subscribe') {
      app.asked++;
      if (app.isConfused) return response.end('["not", "yet"]');
      return response.end(JSON.stringify([{ pubsubname: 'pubsub', topic: 'h', route: 'h' }]));
    } else if (request.method === 'POST') {
      app.received++;
    } else {
      response.writeHead(404);
    }
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  app.port = (server.address() as { port: number }).port;
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  return app;
}

/** So that a busy machine does not make the app unhealthy. */
const PATIENT = ['--app-health-probe-timeout', '900', '--app-health-threshold', '3'];

const start = (t: ExecutionContext, appPort: number, args: string[] = []): Promise<Daprd> =>
  startDaprd(t, {
    appPort,
    args: [
      ...['--enable-app-health-check', '--app-health-check-path', 'healthy', '--app-health-probe-interval', '1'],
      ...['--app-health-threshold', '2', ...args],
    ],
  });

test('an app is asked and served when it is healthy, and while it is', async (t) => {
  const app = await startApp(t);
  const daprd = await start(t, app.port);
  t.is((await fetch(`${daprd.http}/v1.0/healthz`)).status, 204);
  await until(() => app.probed >= 1, 'it is probed');
  t.is(app.asked, 0);
  const { appConnectionProperties } = (await (await fetch(`${daprd.http}/v1.0/metadata`)).json()) as Record<
    string,
    object
  >;
  t.deepEqual((appConnectionProperties as Record<string, unknown>)['health'], {
    healthCheckPath: '/healthy',
    healthProbeInterval: '1s',
    healthProbeTimeout: '500ms',
    healthThreshold: 2,
  });
  app.healthy = true;
  await until(() => daprd.log().includes('app is subscribed to the following topics'), 'it is subscribed');
  await publish(daprd, 'h', '1');
  await until(() => app.received === 1, 'an event arrives');

  app.healthy = false;
  await until(
    () => daprd.log().includes('App entered un-healthy status: Health check failed with status code: 503'),
    'it is found unhealthy',
  );
  await publish(daprd, 'h', '2');
  const recoveries = (): number => daprd.log().split('App entered healthy status').length;
  const before = recoveries();
  app.healthy = true;
  await until(() => recoveries() > before, 'it is found healthy again');
  await until(async () => {
    await publish(daprd, 'h', '3');
    return app.received > 1;
  }, 'events arrive again');
  t.is(app.asked, 1);
});

test('a blocked shutdown ends when the app reports unhealthy, and the API works until then', async (t) => {
  const app = await startApp(t);
  app.healthy = true;
  const daprd = await start(t, app.port, [...PATIENT, '--dapr-block-shutdown-duration', '3m']);
  await until(() => daprd.log().includes('app is subscribed'), 'it is subscribed');
  const stopped = daprd.stop();
  await until(
    () => daprd.log().includes('Blocking graceful shutdown for 3m0s or until app reports unhealthy...'),
    'it blocks',
  );
  t.is((await publish(daprd, 'h', '1')).status, 204);
  app.healthy = false;
  t.is(await stopped, 0);
  t.true(await until(() => daprd.log().includes('App reported unhealthy, entering shutdown...'), 'it is logged'));
  t.is(app.received, 0);
});

test('a blocked shutdown ends when its time is up', async (t) => {
  const app = await startApp(t);
  app.healthy = true;
  const daprd = await start(t, app.port, [...PATIENT, '--dapr-block-shutdown-duration', '1s']);
  await until(() => daprd.log().includes('app is subscribed'), 'it is subscribed');
  t.is(await daprd.stop(), 0);
  t.true(
    await until(() => daprd.log().includes('Block shutdown period expired, entering shutdown...'), 'it is logged'),
  );
});

test('an app that could not say what it subscribes to is asked again when it has recovered', async (t) => {
  const app = await startApp(t);
  app.healthy = true;
  app.isConfused = true;
  const daprd = await start(t, app.port);
  await until(() => daprd.log().includes('failed to subscribe to topics'), 'its answer is of no use');
  app.isConfused = false;
  app.healthy = false;
  await until(() => daprd.log().includes('App entered un-healthy status'), 'it is ill');
  app.healthy = true;
  await until(() => daprd.log().includes('app is subscribed'), 'it is subscribed');
  await publish(daprd, 'h', '1');
  await until(() => app.received === 1, 'an event arrives');
  t.is(app.asked, 2);
});
