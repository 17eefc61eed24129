/**
 * The published how-to, command for command and file for file, with real Python and Node apps. It names its ports
 * (5000, 3000, 3500), so its tests run one after the other and wait until nobody else has them.
 */

import { execFile, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { expressModules, flaskPython, needs } from '../../scripts/needs.ts';
import { dapr, DAPR, exists, listed, ROOT, startDapr, temporaryHome, type Running } from '../cli/command.ts';
import { componentFile } from '../_support/daprd.ts';
import { freePort, isFree } from '../_support/ports.ts';
import { until } from '../_support/until.ts';

const EXAMPLES = join(ROOT, 'examples');
const BIN = join(ROOT, 'bin');
const PAYLOAD = '{"status": "completed"}';

const isReady = needs.flask.present() && needs.express.present();
const howTo = isReady ? test.serial : test.serial.skip;

interface Stage {
  readonly home: string;
  readonly app1: Running;
  readonly app2: Running;
  readonly myapp: Running;
}

/** As a newcomer's shell has it: `dapr`, and a `python` that has Flask. */
const env = { PATH: `${BIN}:${dirname(flaskPython)}:${process.env['PATH']}`, NODE_PATH: expressModules };

/** Splits as the shell would split the how-to's commands, which quote nothing here. */
const words = (command: string): string[] => command.split(' ').slice(1);

type Variant = 'declarative' | 'programmatic';

async function stage(t: ExecutionContext, variant: Variant, files: boolean, broker = 'sqlite'): Promise<Stage> {
  t.timeout(300_000);
  for (const port of [5000, 3000]) await until(() => isFree(port), `port ${port} is free`, 60_000);
  const home = temporaryHome(t);
  t.is((await dapr(t, ['init', '--broker', broker], { home })).code, 0);
  if (files)
    copyFileSync(join(EXAMPLES, 'components/subscription.yaml'), join(home, '.dapr/components/subscription.yaml'));
  const app1 = startDapr(t, words('dapr --app-id app1 --app-port 5000 run python app1.py'), {
    home,
    env,
    cwd: join(EXAMPLES, 'flask', variant),
  });
  const app2 = startDapr(t, words('dapr --app-id app2 --app-port 3000 run node app2.js'), {
    home,
    env,
    cwd: join(EXAMPLES, 'express', variant),
  });
  for (const app of [app1, app2]) await until(() => app.stderr().includes('step=ready'), 'the app is ready');
  const myapp = await publisher(t, home);
  return { home, app1, app2, myapp };
}

/** Port 3500 is asked for by name, and may be somebody's for a moment. */
async function publisher(t: ExecutionContext, home: string): Promise<Running> {
  return until(
    async () => {
      await until(() => isFree(3500), 'port 3500 is free', 60_000);
      const myapp = startDapr(t, words('dapr --app-id myapp --port 3500 run'), { home, env });
      await until(() => myapp.child.exitCode !== null || myapp.stderr().includes('step=ready'), 'it runs or ends');
      return myapp.child.exitCode === null ? myapp : undefined;
    },
    'a sidecar has port 3500',
    60_000,
  );
}

const copies = (app: Running): number => app.stdout().match(/completed/g)?.length ?? 0;

async function publishBothWays(t: ExecutionContext, { home, app1, app2 }: Stage): Promise<void> {
  const command = await dapr(t, ['publish', '--pubsub', 'pubsub', '--topic', 'deathStarStatus', '--data', PAYLOAD], {
    home,
    env,
  });
  t.is(command.code, 0, command.stderr);
  t.regex(command.stdout + command.stderr, /published to pubsub\/deathStarStatus through myapp/);
  const url = 'http://localhost:3500/v1.0/publish/pubsub/deathStarStatus';
  const curl = [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    '-X',
    'POST',
    url,
    '-H',
    'Content-Type: application/json',
    '-d',
    PAYLOAD,
  ];
  t.is((await promisify(execFile)('curl', curl)).stdout, '204');
  await until(() => copies(app1) >= 2 && copies(app2) >= 2, 'both apps have both events');
  t.is(copies(app1), 2);
  t.is(copies(app2), 2);
  t.regex(app1.stdout(), /'data': \{'status': 'completed'\}/);
  t.regex(app2.stdout(), /data: \{ status: 'completed' \}/);
}

async function stopAll({ app1, app2, myapp, home }: Stage, t: ExecutionContext): Promise<void> {
  const pids = await Promise.all(['app1', 'app2', 'myapp'].map(async (id) => (await listed(home, id)).pid));
  for (const running of [app1, app2, myapp]) running.child.kill('SIGINT');
  for (const running of [app1, app2, myapp]) t.is(await running.ended, 0);
  for (const pid of pids) t.false(exists(pid));
}

howTo('declarative subscriptions: each app receives one copy of what a third sidecar publishes', async (t) => {
  const all = await stage(t, 'declarative', true);
  await publishBothWays(t, all);
  await stopAll(all, t);
});

howTo('programmatic subscriptions: the same', async (t) => {
  const all = await stage(t, 'programmatic', false);
  await publishBothWays(t, all);
  await stopAll(all, t);
});

howTo('both at once: still one copy each', async (t) => {
  const all = await stage(t, 'programmatic', true);
  await publishBothWays(t, all);
  await stopAll(all, t);
});

howTo('a components path and an app that no subscription is scoped to: it publishes and gets nothing', async (t) => {
  t.timeout(300_000);
  await until(() => isFree(5000), 'port 5000 is free', 60_000);
  const home = temporaryHome(t);
  const components = join(home, 'myComponents');
  mkdirSync(components);
  writeFileSync(join(components, 'pubsub.yaml'), componentFile('pubsub.sqlite'));
  copyFileSync(join(EXAMPLES, 'components/subscription.yaml'), join(components, 'subscription.yaml'));
  copyFileSync(join(EXAMPLES, 'flask/declarative/app1.py'), join(home, 'app1.py'));
  const command = 'dapr run --app-id myapp --components-path ./myComponents -- python3 app1.py';
  const myapp = startDapr(t, words(command), { home, env });
  await until(async () => myapp.stderr().includes('step=ready') && !(await isFree(5000)), 'the app runs');
  const published = await dapr(t, ['publish', '--pubsub', 'pubsub', '--topic', 'deathStarStatus', '--data', PAYLOAD], {
    home,
    env,
  });
  t.is(published.code, 0, published.stderr);
  myapp.child.kill('SIGINT');
  t.is(await myapp.ended, 0);
  t.is(copies(myapp), 0);
});

const onRedis = isReady && needs.redis.present() ? test.serial : test.serial.skip;

onRedis('on Redis, with the component file of the how-to: the same', async (t) => {
  await until(() => isFree(6379), 'port 6379 is free', 60_000);
  const all = await stage(t, 'declarative', true, 'redis');
  const { home } = all;
  t.teardown(() => void spawnSync(DAPR, ['uninstall'], { env: { ...env, HOME: home } })); // if it fails before its end
  const published = readFileSync(join(ROOT, 'components/pubsub.yaml'));
  t.deepEqual(readFileSync(join(home, '.dapr/components/pubsub.yaml')), published);
  await publishBothWays(t, all);
  await stopAll(all, t);
  t.is((await dapr(t, ['uninstall'], { home })).code, 0);
  t.true(await isFree(6379));
});

test('the samples are the published ones, byte for byte', (t) => {
  const subscription = readFileSync(join(EXAMPLES, 'components/subscription.yaml'), 'utf8');
  t.is(readFileSync(join(ROOT, 'components/subscription.yaml'), 'utf8').trim(), subscription.trim());
  t.regex(subscription, /route: \/dsstatus\n {2}pubsubname: pubsub\nscopes:\n- app1\n- app2/);
});

test('a components directory with a subscription and no component says which component is assumed', async (t) => {
  const home = temporaryHome(t);
  const components = join(home, 'myComponents');
  mkdirSync(components);
  copyFileSync(join(EXAMPLES, 'components/subscription.yaml'), join(components, 'subscription.yaml'));
  const running = startDapr(
    t,
    ['run', '--app-id', 'myapp', '--components-path', './myComponents', '--', 'sleep', '60'],
    {
      home,
      env,
    },
  );
  const assumed = /no component found in \.\/myComponents: component pubsub \(pubsub\.sqlite\) is assumed/;
  t.true(await until(() => assumed.test(running.stderr() + running.stdout()), 'a line names the component'));
});

const HOLDING_APP = `
const { createServer } = require('node:http');
const [, , port, what] = process.argv;
createServer((request, response) => {
  if (request.url === '/dapr/subscribe') return response.end(JSON.stringify([{ pubsubname: 'pubsub', topic: 'held', route: 'held' }]));
  if (request.method !== 'POST') return response.writeHead(404).end();
  let body = '';
  request.on('data', (chunk) => (body += chunk)).on('end', () => {
    console.log(what + ' ' + JSON.parse(body).data);
    if (what !== 'holds') response.end();
  });
}).listen(Number(port), '127.0.0.1');
`;

test('an app killed in mid-message gets it again after its restart', async (t) => {
  const home = temporaryHome(t);
  writeFileSync(join(home, 'app.cjs'), HOLDING_APP);
  const start = (what: string, port: number): Running =>
    startDapr(
      t,
      ['run', '--app-id', 'held', '--app-port', String(port), process.execPath, 'app.cjs', String(port), what],
      {
        home,
      },
    );
  const port = await freePort();
  const first = start('holds', port);
  await until(() => first.stderr().includes('step=ready'), 'the app is ready');
  t.is((await dapr(t, ['publish', '-i', 'held', '-t', 'held', '-d', '42'], { home })).code, 0);
  await until(() => first.stdout().includes('holds 42'), 'the app has the event');
  process.kill((await listed(home, 'held')).appPid, 'SIGKILL');
  await first.ended;
  const second = start('handles', port);
  await until(() => second.stdout().includes('handles 42'), 'it comes again');
  second.child.kill('SIGINT');
  t.is(await second.ended, 0);
});
