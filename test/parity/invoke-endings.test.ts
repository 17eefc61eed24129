/** Calls of the own app while it is not well, while the sidecar stops, and when the caller gives up. */

import { createServer, request as httpRequest } from 'node:http';
import test from 'ava';
import { startGrpcApp, type GrpcReceived } from '../_support/grpc-app.ts';
import { until } from '../_support/until.ts';
import { failure, invoke, startEcho, text, urlOf } from './_echo.ts';
import { startSidecar } from './_sidecar.ts';

const HEALTH = ['--enable-app-health-check=true', '--app-health-probe-interval=1', '--app-health-threshold=1'];
const UNHEALTHY = /app is not in a healthy state/;

test('an app that is not well is not called, until it is', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port, args: HEALTH });
  const becomes = async (well: boolean): Promise<void> => {
    app.well = well;
    const answers = async (): Promise<boolean> => {
      const response = await fetch(urlOf(sidecar, 'myfunc'));
      const body = await response.text();
      return well ? response.status === 200 && body === 'GET /myfunc' : response.status === 500 && UNHEALTHY.test(body);
    };
    await until(answers, well ? 'it is called' : 'it is not');
  };
  for (const well of [true, false, true, false]) await becomes(well);
  t.regex((await failure(invoke(sidecar, 'myfunc'))).details, UNHEALTHY);
});

test('an app over gRPC that is not well gets neither calls nor events', async (t) => {
  let well = false;
  const app = await startGrpcApp({
    subscriptions: [{ topic: 'a' }],
    healthy: () => well,
    invoke: () => ({ data: undefined, contentType: '' }),
  });
  t.teardown(() => app.close());
  const sidecar = await startSidecar(t, { appPort: app.port, protocol: 'grpc', args: HEALTH });
  const status = async (): Promise<number> => (await fetch(urlOf(sidecar, 'foo'))).status;
  const becomes = async (is: boolean): Promise<void> => {
    well = is;
    await until(async () => (await status()) === (is ? 200 : 500), is ? 'it is well' : 'it is not');
  };
  await until(() => app.asked.length > 0, 'it was probed');
  t.is(await status(), 500);
  await becomes(true);
  const subscribed = /app is subscribed to the following topics/;
  await until(() => subscribed.test(sidecar.log()), 'it is subscribed');
  t.is(await sidecar.publish('a', 1), 204);
  await until(() => app.received.length === 1, 'the first comes');
  await becomes(false);
  t.is(await sidecar.publish('a', 2), 204);
  t.is(await sidecar.publish('a', 3), 204);
  t.is(await status(), 500);
  t.is(app.received.length, 1);
  await becomes(true);
  t.is(await sidecar.publish('a', 4), 204);
  const isLast = ({ event }: GrpcReceived): boolean => Buffer.from(event.data).toString() === '4';
  await until(() => app.received.some(isLast), 'events come again');
});

test('a blocked shutdown of an app that is not well any more ends at once', async (t) => {
  const app = await startEcho(t);
  const args = [...HEALTH, '--dapr-block-shutdown-duration=180s'];
  const sidecar = await startSidecar(t, { appPort: app.port, args });
  const calls = (): Promise<string> => invoke(sidecar, 'foo', { verb: 'GET' }).then(text, ({ details }) => details);
  await until(async () => (await calls()) === 'GET /foo', 'it is called');
  app.well = false;
  await until(async () => UNHEALTHY.test(await calls()), 'it is not');
  t.is(await sidecar.stop(), 0);
  for (const line of [
    'Blocking graceful shutdown for 3m0s or until app reports unhealthy...',
    'App reported unhealthy, entering shutdown...',
    'Daprd shutdown gracefully',
  ])
    t.true(sidecar.log().includes(line), line);
});

for (const protocol of ['http', 'grpc'] as const) {
  test(`a call over ${protocol} that is in hand at a shutdown is answered, and none is taken any more`, async (t) => {
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    const app = await startEcho(t, async ({ url }) => (url === '/slow' ? released.then(() => ({})) : {}));
    const sidecar = await startSidecar(t, { appPort: app.port });
    const calling = (method: string): Promise<string> =>
      protocol === 'http'
        ? fetch(urlOf(sidecar, method), { method: 'POST' }).then((response) => response.text())
        : invoke(sidecar, method).then(text);
    const answer = calling('slow');
    await until(() => app.asked.length === 1, 'it is in hand');
    const exited = sidecar.stop();
    const isRefused = (): Promise<boolean> =>
      calling('late').then(
        () => false,
        () => true,
      );
    await until(isRefused, 'none is taken');
    release();
    t.is(await answer, 'POST /slow');
    t.is(await exited, 0);
  });
}

test('a call that was answered does not hold up the exit', async (t) => {
  const app = await startEcho(t);
  const sidecar = await startSidecar(t, { appPort: app.port, args: ['--dapr-graceful-shutdown-seconds=5'] });
  t.is(text(await invoke(sidecar, 'foo', { verb: 'GET' })), 'GET /foo');
  t.is(await sidecar.stop(), 0);
  t.true(sidecar.log().includes('Daprd shutdown gracefully'));
});

test('a call that is never answered costs the grace period; the caller sees the end of the connection', async (t) => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  t.teardown(() => release());
  const app = await startEcho(t, () => released.then(() => ({})));
  const sidecar = await startSidecar(t, { appPort: app.port, args: ['--dapr-graceful-shutdown-seconds=1'] });
  const ended = new Promise<string>((resolve) => {
    httpRequest(urlOf(sidecar, 'hangs'), () => resolve('an answer'))
      .on('error', ({ message }) => resolve(message))
      .end();
  });
  await until(() => app.asked.length === 1, 'it is in hand');
  t.is(await sidecar.stop(), 1);
  t.is(await ended, 'socket hang up');
  t.true(sidecar.log().includes('Graceful shutdown timeout exceeded, forcing shutdown'));
});

test('a caller that gives up takes its call along', async (t) => {
  const [opened, closed] = [[] as string[], [] as string[]];
  const server = createServer(({ url = '' }, response) => {
    if (url.startsWith('/dapr/')) return response.writeHead(404).end();
    opened.push(url);
    return response.once('close', () => closed.push(url));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close().closeAllConnections());
  const sidecar = await startSidecar(t, { appPort: (server.address() as { port: number }).port });
  const giveUp = new AbortController();
  const fetched = fetch(urlOf(sidecar, 'one'), { signal: giveUp.signal });
  await until(() => opened.length === 1, 'it is in hand');
  giveUp.abort();
  await t.throwsAsync(fetched);
  await until(() => closed.join() === '/one', 'the request of the app is given up');
  const message = { method: 'two', data: undefined, contentType: '', httpExtension: undefined };
  const calling = sidecar.client.invokeService({ id: 'app', message }, () => undefined);
  await until(() => opened.length === 2, 'the other is in hand');
  calling.cancel();
  await until(() => closed.join() === '/one,/two', 'that of the other is, too');
});
