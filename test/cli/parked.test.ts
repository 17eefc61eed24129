/** What an operator sees of parked messages of a running sidecar, and how they are delivered again. */

import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { componentFile, MEMORY, publish, startDaprd, temporaryDirectory, type Daprd } from '../_support/daprd.ts';
import { startHttpApp, type HttpApp } from '../_support/http-app.ts';
import { RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { dapr, type Result } from './command.ts';

const ONCE = `kind: Resiliency
metadata:
  name: once
spec:
  policies: { retries: { once: { policy: constant, duration: 10ms, maxRetries: 1 } } }
  targets: { components: { pubsub: { inbound: { retry: once } } } }
`;

interface Place {
  readonly home: string;
  readonly app: HttpApp;
  /** Makes the app take what it refused. */
  mend(): void;
  start(args?: readonly string[], component?: string): Promise<Daprd>;
  parked(...words: string[]): Promise<Result>;
}

/** An app that refuses what it gets of `bad` and `worse/one`, and takes `good`. */
async function place(t: ExecutionContext, component = componentFile('pubsub.sqlite')): Promise<Place> {
  const home = await temporaryDirectory(t);
  let isWell = false;
  const app = await startHttpApp({
    subscribe: ['bad', 'worse/one', 'good'].map((topic) => ({ pubsubname: 'pubsub', topic, route: `/${topic}` })),
    reply: ({ path }) => (isWell || path === '/good' ? 200 : 500),
  });
  t.teardown(() => app.close());
  return {
    home,
    app,
    mend: () => (isWell = true),
    start: (args = [], file = component) =>
      startDaprd(t, {
        appPort: app.port,
        directory: home,
        resources: { 'pubsub.yaml': file, 'resiliency.yaml': ONCE },
        args,
      }),
    parked: (...words) => dapr(t, ['parked', ...words], { home }),
  };
}

interface Shown {
  readonly topic: string;
  readonly parked: number;
  readonly delivered: number;
  readonly oldestUnsettledMs: number;
  readonly last: { readonly event: string; readonly attempts: number; readonly reason: string; readonly time: string };
}

const inJson = ({ stdout }: Result): Shown[] => JSON.parse(stdout) as Shown[];

const BROKERS = {
  sqlite: async () => componentFile('pubsub.sqlite'),
  redis: async (t: ExecutionContext) => {
    const { address } = await RedisServer.start(t.teardown);
    return componentFile('pubsub.redis', { redisHost: address, redisPassword: '' });
  },
  memory: async () => MEMORY,
};

for (const [name, componentOf] of Object.entries(BROKERS)) {
  test.serial(`${name}: what is parked is listed by subscription with its reason, and delivered again`, async (t) => {
    const { app, start, parked, mend } = await place(t, await componentOf(t));
    const daprd = await start();
    t.regex((await parked()).stdout, /^APP ID +SIDECAR +PUBSUB +TOPIC +GROUP +PARKED +OLDEST UNSETTLED +WHY\n$/);
    for (const n of [1, 2]) t.is((await publish(daprd, 'bad', { n })).status, 204);
    t.is((await publish(daprd, 'worse/one', { n: 3 })).status, 204);
    t.is((await publish(daprd, 'good', { n: 4 })).status, 204);
    await until(() => daprd.log().match(/parked pub\/sub event/g)?.length === 3, 'they are parked');
    const listed = await until(async () => {
      const rows = inJson(await parked('-o', 'json'));
      return rows.reduce((sum, one) => sum + one.parked, 0) === 3 && rows;
    }, 'the broker counts them');
    t.deepEqual(
      listed.map(({ topic, parked: count }) => [topic, count]),
      [
        ['bad', 2],
        ['worse/one', 1],
      ],
    );
    const [bad] = listed as [Shown];
    t.like(bad, { appId: 'app', sidecar: `127.0.0.1:${daprd.httpPort}`, pubsub: 'pubsub', group: 'app' });
    t.true(app.received.some(({ event }) => event['id'] === bad.last.event));
    t.is(bad.last.attempts, 2);
    t.regex(bad.last.reason, /500/);
    t.true(Date.parse(bad.last.time) <= Date.now() && bad.oldestUnsettledMs > 0);
    t.regex(
      (await parked()).stdout,
      /^app +127\S+ +pubsub +bad +app +2 +\d+s +event \S+ after 2 attempts, \S+Z: .*500/m,
    );

    t.is((await parked('--deliver', '--topic', 'bad')).code, 0);
    await until(async () => {
      const row = inJson(await parked('-o', 'json')).find(({ topic }) => topic === 'bad');
      return row?.parked === 2 && row.last?.attempts === 3;
    }, 'what fails once more is parked at once, and its attempts go on');
    mend();
    const one = await parked('--deliver', '--topic', 'worse/one', '-o', 'json');
    t.is(one.code, 0, one.stderr);
    t.deepEqual(inJson(one).map(({ topic, delivered }) => [topic, delivered]), [['worse/one', 1]]); // prettier-ignore
    const rest = await parked('--deliver', '--app-id', 'app');
    t.is(rest.code, 0, rest.stderr);
    t.regex(rest.stdout, /^app +127\S+ +pubsub +bad +app +2$/m);
    await until(() => app.received.filter(({ path }) => path === '/bad').length === 8, 'the app has them');
    await until(() => app.received.filter(({ path }) => path === '/worse/one').length === 3, 'and the other one');
    await until(async () => inJson(await parked('-o', 'json')).length === 0, 'nothing is parked');
    t.is((await parked('--deliver')).code, 0);
  });
}

test.serial('what is parked by a sibling on the same file is listed by both, and either delivers it', async (t) => {
  const { app, start, parked, mend } = await place(t);
  const first = await start();
  await publish(first, 'bad', { n: 1 });
  await until(() => first.log().includes('parked pub/sub event'), 'it is parked');
  const second = await start();
  const rows = await until(async () => {
    const found = inJson(await parked('-o', 'json'));
    return found.length === 2 && found;
  }, 'both count it');
  t.deepEqual(rows.map(({ last }) => last?.attempts), [2, undefined]); // prettier-ignore
  t.regex((await parked()).stdout, /parked by another sidecar of the group$/m);
  mend();
  const { code, stdout } = await parked('--deliver', '--sidecar', `127.0.0.1:${second.httpPort}`, '-o', 'json');
  t.is(code, 0);
  t.is(inJson({ code, stdout, stderr: '' })[0]?.delivered, 1);
  await until(() => app.received.length === 3, 'the app has it');
});

test.serial('what is not subscribed to, not running, not allowed or not answering says what to do', async (t) => {
  const { home, start, parked } = await place(t);
  const nobody = await parked();
  t.is(nobody.code, 3);
  t.regex(nobody.stderr, /^error {2}NO_INSTANCE {2}no sidecar runs\nnext {3}dapr run/);
  const daprd = await start();
  const typo = await parked('--topic', 'bat', '--deliver');
  t.is(typo.code, 3);
  t.is(
    typo.stderr,
    'error  NO_SUBSCRIPTION  no sidecar that was asked subscribes to topic "bat"\n' +
      'why    subscribed: pubsub/bad, pubsub/worse/one, pubsub/good\nnext   did you mean bad?\n',
  );
  t.is((await parked('--app-id', 'other')).code, 3);
  const refused = await fetch(`${daprd.http}/v1.0/parked/other/bad`, { method: 'POST' });
  t.is(refused.status, 404);
  t.like(await refused.json(), { errorCode: 'ERR_PUBSUB_NOT_FOUND', message: 'pubsub other is not found' });
  const other = await startHttpApp({});
  t.teardown(() => other.close());
  const foreign = await parked('--sidecar', `http://127.0.0.1:${other.port}`);
  t.is(foreign.code, 1);
  t.regex(foreign.stderr, /^error {2}HTTP_404 .* refused GET \/v1\.0\/parked\nwhy .*\nnext {3}it is an older one/m);
  const completed = async (): Promise<string> =>
    (await dapr(t, ['__complete', 'parked', '--topic', 'b'], { home })).stdout;
  await until(
    async () => (await completed()) === 'bad\n',
    'the sidecar tells its topics in the time there is for that',
  );
  t.regex((await dapr(t, ['parked', '--help'], { home })).stdout, /--deliver +Deliver it again now\./);
  await daprd.stop('SIGKILL');
  t.is((await parked()).code, 3);
});

test.serial('an API that wants a token wants it for this too, and its Configuration may forbid it', async (t) => {
  const { home, app, parked } = await place(t);
  const config = join(home, 'config.yaml');
  const { writeFile } = await import('node:fs/promises');
  await writeFile(
    config,
    'kind: Configuration\nmetadata: { name: c }\nspec: { api: { denied: [{ name: parked, version: v1, protocol: http }] } }\n',
  );
  const options = { appPort: app.port, directory: home, env: { DAPR_API_TOKEN: 'secret' } };
  const open = await startDaprd(t, options);
  t.is((await parked()).code, 7);
  t.is((await parked('--api-token', 'secret')).code, 0);
  await open.stop();
  await startDaprd(t, { ...options, args: ['--config', config] });
  t.is((await parked('--api-token', 'secret')).code, 1);
});

test.serial('a broker that does not answer is told as such, beside those that do', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { start, parked } = await place(
    t,
    componentFile('pubsub.redis', { redisHost: server.address, redisPassword: '' }),
  );
  await start();
  server.signal('SIGSTOP');
  t.teardown(() => server.signal('SIGCONT'));
  const { code, stdout } = await parked();
  t.is(code, 6);
  t.regex(stdout, /^app +\S+ +pubsub +bad +app +\? +the broker does not answer$/m);
});
