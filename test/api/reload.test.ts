import { mkdir, rename, rm, rmdir, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { componentFile, MEMORY, publish, startDaprd, temporaryDirectory, type Daprd } from '../_support/daprd.ts';
import { startHttpApp, type HttpApp, type Received } from '../_support/http-app.ts';
import { freePorts } from '../_support/ports.ts';
import { until } from '../_support/until.ts';

const subscription = (name: string, topic: string, route = `/${topic}`): string => `
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: ${name}
spec:
  topic: ${topic}
  pubsubname: pubsub
  routes:
    default: ${route}
`;

interface Stage {
  readonly app: HttpApp;
  readonly daprd: Daprd;
  write(name: string, text: string): Promise<void>;
  remove(name: string): Promise<void>;
}

async function stage(t: ExecutionContext, resources: Record<string, string>, subscribe?: unknown): Promise<Stage> {
  const app = await startHttpApp({ subscribe });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, { appPort: app.port, resources });
  const path = (name: string): string => join(daprd.directory, 'resources-app', name);
  return { app, daprd, write: (name, text) => writeFile(path(name), text), remove: (name) => rm(path(name)) };
}

interface Listed {
  subscriptions?: { topic: string; rules: { path: string }[] }[];
  components?: { name: string }[];
}
const listed = async ({ http }: Daprd): Promise<Listed> =>
  (await (await fetch(`${http}/v1.0/metadata`)).json()) as Listed;
const topics = async (daprd: Daprd): Promise<string> =>
  (await listed(daprd)).subscriptions?.map(({ topic }) => topic).join(' ') ?? '';

test('a subscription file is added, edited and removed while the others go on', async (t) => {
  const { app, daprd, write, remove } = await stage(t, { 'a.yaml': MEMORY, 'b.yaml': subscription('b', 'stays') });
  await write('c.yaml', subscription('c', 'comes'));
  await until(async () => (await topics(daprd)) === 'stays comes', 'it is listed');
  for (const topic of ['stays', 'comes']) await publish(daprd, topic, '1');
  await until(() => app.received.length === 2, 'both arrive');

  await write('b.yaml', subscription('b', 'stays', '/elsewhere'));
  await until(async () => (await topics(daprd)) === 'comes stays', 'the edited one moves to the end');
  await publish(daprd, 'stays', '2');
  await until(() => app.received.some(({ path }) => path === '/elsewhere'), 'it goes the new way');

  await remove('c.yaml');
  await until(async () => (await topics(daprd)) === 'stays', 'it is not listed any more');
  await publish(daprd, 'comes', '3');
  await publish(daprd, 'stays', '3');
  await until(() => app.received.filter(({ path }) => path === '/elsewhere').length === 2, 'the other one goes on');
  t.is(app.received.filter(({ path }) => path === '/comes').length, 1);
});

test('a component file is removed and added again, and the subscriptions of the app follow', async (t) => {
  const subscribe = [{ pubsubname: 'pubsub', topic: 'p', route: 'p' }];
  const { app, daprd, write, remove } = await stage(t, { 'a.yaml': MEMORY }, subscribe);
  await remove('a.yaml');
  await until(async () => (await publish(daprd, 'p', '1')).status === 404, 'it is gone');
  await write('again.yaml', MEMORY);
  await until(async () => (await publish(daprd, 'p', '1')).status === 204, 'it is there again');
  await until(async () => {
    await publish(daprd, 'p', '1');
    return app.received.length > 0;
  }, 'events arrive');
  t.is(app.asked.filter((path) => path === 'GET /dapr/subscribe').length, 1);
});

test('a broken file changes nothing, and its repair is picked up', async (t) => {
  const { daprd, write } = await stage(t, { 'a.yaml': MEMORY, 'b.yaml': subscription('b', 'one') });
  await write('b.yaml', 'apiVersion: dapr.io/v2alpha1\nkind: Subscription\nspec: [');
  await until(() => daprd.log().includes('resources were not reloaded'), 'the reload is refused');
  t.is(await topics(daprd), 'one');
  await write('b.yaml', subscription('b', 'two'));
  await until(async () => (await topics(daprd)) === 'two', 'the repair is picked up');
});

for (const [how, text] of [
  ['emptied', ''],
  ['written as far as its first line', 'apiVersion: dapr.io/v1alpha1\n'],
  ['written as far as its name', MEMORY.slice(0, MEMORY.indexOf('spec:'))],
  ['given a type that is none', MEMORY.replace('in-memory', 'in-memry')],
  ['given a setting that cannot be', componentFile('pubsub.in-memory', { concurrency: 'many' })],
] as const) {
  test(`a component file that is ${how} changes nothing: what it said before goes on`, async (t) => {
    const { daprd, write } = await stage(t, { 'a.yaml': MEMORY, 'b.yaml': subscription('b', 'one') });
    await write('a.yaml', text);
    await until(() => daprd.log().includes('resources were not reloaded'), 'the reload is refused');
    t.is((await publish(daprd, 'one', '1')).status, 204);
    await write('a.yaml', MEMORY);
    await write('b.yaml', subscription('b', 'two'));
    await until(async () => (await topics(daprd)) === 'two', 'the next change is picked up');
    t.false(daprd.log().includes('Closing existing Component'));
  });
}

test('two files that define one component change nothing, whichever was there first', async (t) => {
  const { daprd, write, remove } = await stage(t, { 'b.yaml': MEMORY, 'c.yaml': subscription('c', 'one') });
  await write('a.yaml', componentFile('pubsub.sqlite'));
  await until(() => daprd.log().includes('duplicate definition of Component name pubsub'), 'it is told');
  await remove('a.yaml');
  await write('c.yaml', subscription('c', 'two'));
  await until(async () => (await topics(daprd)) === 'two', 'the next change is picked up');
  t.false(daprd.log().includes('Closing existing Component'));
});

test('a directory of resources is followed when it is away, made anew, and replaced', async (t) => {
  const { daprd } = await stage(t, { 'a.yaml': MEMORY, 'b.yaml': subscription('b', 'first') });
  const directory = join(daprd.directory, 'resources-app');
  const make = async (name: string, topic: string): Promise<string> => {
    const made = join(daprd.directory, name);
    await mkdir(made);
    await writeFile(join(made, 'a.yaml'), MEMORY);
    await writeFile(join(made, 'b.yaml'), subscription('b', topic));
    return made;
  };
  await rm(directory, { recursive: true });
  await until(() => daprd.log().includes('resources were not reloaded'), 'that it is away is told');
  t.is(await topics(daprd), 'first');
  await make('resources-app', 'anew');
  await until(async () => (await topics(daprd)) === 'anew', 'it is read when it is back');
  await writeFile(join(directory, 'b.yaml'), subscription('b', 'edited'));
  await until(async () => (await topics(daprd)) === 'edited', 'and followed');

  await rename(directory, join(daprd.directory, 'old'));
  await symlink(await make('one', 'linked'), directory);
  await until(async () => (await topics(daprd)) === 'linked', 'a link in its place is read');
  await symlink(await make('two', 'elsewhere'), join(daprd.directory, 'next'));
  await rename(join(daprd.directory, 'next'), directory);
  await until(async () => (await topics(daprd)) === 'elsewhere', 'and one in the place of that');
  await writeFile(join(directory, 'b.yaml'), subscription('b', 'last'));
  await until(async () => (await topics(daprd)) === 'last', 'and followed');
  t.false(daprd.log().includes('Closing existing Component'));
});

test('a volume as Kubernetes mounts it is read when its link to the data is exchanged', async (t) => {
  const { daprd, remove } = await stage(t, { 'a.yaml': MEMORY, 'b.yaml': subscription('b', 'first') });
  const at = (name: string): string => join(daprd.directory, 'resources-app', name);
  const version = async (name: string, topic: string): Promise<void> => {
    await mkdir(at(name));
    await writeFile(join(at(name), 'b.yaml'), subscription('b', topic));
    await symlink(name, at('..data_tmp'));
    await rename(at('..data_tmp'), at('..data'));
  };
  await version('..one', 'one');
  await remove('b.yaml');
  await symlink('..data/b.yaml', at('b.yaml'));
  await until(async () => (await topics(daprd)) === 'one', 'the first version is there');
  await version('..two', 'two');
  await rm(at('..one'), { recursive: true });
  await until(async () => (await topics(daprd)) === 'two', 'the second version is there');
  t.false(daprd.log().includes('were not reloaded'));
});

test('a file that never rests does not keep the others from being read', async (t) => {
  const { daprd, write } = await stage(t, { 'a.yaml': MEMORY, 'b.yaml': subscription('b', 'one') });
  let lines = '';
  const noise = setInterval(() => void write('app.log', (lines += 'a line\n')), 20);
  t.teardown(() => clearInterval(noise));
  await until(() => lines !== '', 'it has begun');
  await write('b.yaml', subscription('b', 'two'));
  await until(async () => (await topics(daprd)) === 'two', 'the change is picked up');
  t.pass();
});

test('the event in hand when its subscription goes is finished', async (t) => {
  let release: () => void = () => undefined;
  const held = new Promise<number>((resolve) => (release = () => resolve(200)));
  const app = await startHttpApp({ reply: () => held });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, {
    appPort: app.port,
    resources: { 'a.yaml': MEMORY, 'b.yaml': subscription('b', 'held') },
  });
  await publish(daprd, 'held', '1');
  await until(() => app.received.length === 1, 'it is in hand');
  await rm(join(daprd.directory, 'resources-app', 'b.yaml'));
  await until(async () => (await topics(daprd)) === '', 'the subscription is not listed any more');
  release();
  const scrape = async (): Promise<string> => (await fetch(`http://127.0.0.1:${daprd.metricsPort}/metrics`)).text();
  await until(
    async () => (await scrape()).includes('process_status="success",status="success",topic="held"} 1'),
    'it is counted as handled',
  );
  t.is(app.received.length, 1);
});

test('a hangup reads everything anew, asks the app again, and loses no event', async (t) => {
  const { app, daprd } = await stage(t, { 'a.yaml': MEMORY }, [{ pubsubname: 'pubsub', topic: 'h', route: 'h' }]);
  process.kill(daprd.pid, 'SIGHUP');
  await until(() => app.asked.filter((path) => path === 'GET /dapr/subscribe').length === 2, 'the app is asked again');
  const api = await until(() => daprd.reports.filter(({ type }) => type === 'api').at(1), 'the ports are told again');
  const http = `http://127.0.0.1:${api.type === 'api' ? api.httpPort : 0}`;
  await until(async () => (await fetch(`${http}/v1.0/healthz`)).status === 204, 'it is ready');
  await publish({ http }, 'h', '1');
  await until(() => app.received.length === 1, 'an event arrives');
  t.is(await daprd.stop(), 0);
});

test('a hangup while the sidecar starts lets it start, and then start anew', async (t) => {
  let pid = 0;
  let asked = 0;
  const unanswering = createServer((socket) => {
    socket.on('error', () => undefined);
    if (++asked === 1) process.kill(pid, 'SIGHUP');
    else socket.destroy();
  });
  const [redisPort, httpPort] = (await freePorts(2)) as [number, number];
  await new Promise<void>((resolve) => unanswering.listen(redisPort, '127.0.0.1', resolve));
  t.teardown(() => unanswering.close());
  const redis = `
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: slow
spec:
  type: pubsub.redis
  version: v1
  initTimeout: 1s
  ignoreErrors: true
  metadata:
  - name: redisHost
    value: 127.0.0.1:${redisPort}
`;
  const daprd = await startDaprd(t, {
    resources: { 'a.yaml': MEMORY, 'b.yaml': redis },
    args: ['--dapr-http-port', String(httpPort)],
    onSpawn: (spawned) => (pid = spawned),
    ready: false,
  });
  const apis = () => daprd.reports.filter(({ type }) => type === 'api').length;
  await until(() => apis() === 2, 'it has started anew');
  t.is((await publish(daprd, 't', '1')).status, 204);
  t.is(await daprd.stop(), 0);
});

test('an app that falls ill and recovers while its component is exchanged is served by the new one', async (t) => {
  let release: () => void = () => undefined;
  const held = new Promise<number>((resolve) => (release = () => resolve(200)));
  let health = 200;
  const subscribe = ['held', 'e'].map((topic) => ({ pubsubname: 'pubsub', topic, route: `/${topic}` }));
  const reply = ({ path }: Received): Promise<number> | number => (path === '/held' ? held : 200);
  const app = await startHttpApp({ subscribe, reply, get: (url) => (url === '/healthz' ? health : undefined) });
  t.teardown(() => app.close());
  const probes = ['--enable-app-health-check', '--app-health-probe-interval', '1', '--app-health-threshold', '1'];
  const daprd = await startDaprd(t, { appPort: app.port, resources: { 'a.yaml': MEMORY }, args: probes });
  await until(() => daprd.log().includes('app is subscribed'), 'the app is served');
  await publish(daprd, 'held', '1');
  await until(() => app.received.length === 1, 'an event is in hand');
  await writeFile(
    join(daprd.directory, 'resources-app', 'a.yaml'),
    componentFile('pubsub.in-memory', { concurrency: '2' }),
  );
  await until(() => daprd.log().includes('Closing existing Component to reload'), 'the component is on its way out');
  health = 500;
  await until(() => daprd.log().includes('App entered un-healthy status'), 'the app is ill');
  health = 200;
  await until(() => daprd.log().split('App entered healthy status').length === 3, 'the app is well again');
  await until(() => daprd.log().split('app is subscribed').length >= 3, 'the app is served again');
  release();
  await until(() => daprd.log().includes('Component updated'), 'the new component is there');
  await until(async () => (await publish(daprd, 'e', '1')).status === 204, 'an event is taken');
  await until(() => app.received.some(({ path }) => path === '/e'), 'it arrives');
  t.is(app.received.filter(({ path }) => path === '/held').length, 1);
});

test('a component that could not be opened when it was edited is tried again', async (t) => {
  const subscribe = [{ pubsubname: 'pubsub', topic: 'p', route: '/p' }];
  const app = await startHttpApp({ subscribe });
  t.teardown(() => app.close());
  const daprd = await startDaprd(t, {
    appPort: app.port,
    resources: { 'a.yaml': MEMORY },
    args: ['--hot-reload-reconcile-interval', '1s'],
  });
  const directory = join(daprd.directory, 'late');
  const file = join(daprd.directory, 'resources-app', 'a.yaml');
  await writeFile(directory, 'no directory');
  await writeFile(file, componentFile('pubsub.sqlite', { connectionString: join(directory, 'events.db') }));
  const failures = (): number => daprd.log().split('Ignoring error processing component').length - 1;
  await until(() => failures() >= 3, 'it does not open, however often it is tried');
  t.is(daprd.log().split('names pubsub pubsub, which is not loaded').length, 2, 'told once');
  await rm(directory);
  await until(async () => (await publish(daprd, 'p', '1')).status === 204, 'it is there');
  await until(() => app.received.length === 1, 'an event arrives');
  t.is(daprd.log().split('Component updated').length, 2);
});

test('the component that is assumed is tried again, and makes room for one that is written down', async (t) => {
  const app = await startHttpApp({});
  t.teardown(() => app.close());
  const directory = await temporaryDirectory(t);
  const database = join(directory, '.dapr', 'pubsub.db');
  await mkdir(database, { recursive: true });
  const daprd = await startDaprd(t, {
    directory,
    appPort: app.port,
    resources: { 's.yaml': subscription('s', 'p') },
    args: ['--hot-reload-reconcile-interval', '1s'],
  });
  t.is((await publish(daprd, 'p', '1')).status, 404);
  await rmdir(database);
  await until(async () => (await publish(daprd, 'p', '1')).status === 204, 'it is there');
  await until(() => app.received.length > 0, 'an event arrives');

  const file = join(directory, 'resources-app', 'a.yaml');
  await writeFile(file, MEMORY);
  await until(() => daprd.log().includes('Component updated: pubsub (pubsub.in-memory/v1)'), 'the other one is there');
  t.true(daprd.log().includes('Closing existing Component to reload: pubsub (pubsub.sqlite/v1)'));
  await until(async () => {
    const before = app.received.length;
    await publish(daprd, 'p', '1');
    return app.received.length > before;
  }, 'events arrive through it');
  await rm(file);
  await until(async () => (await publish(daprd, 'p', '1')).status === 404, 'none is assumed in its place');
});

test('a component that waits for its secret store is opened when that is there', async (t) => {
  const waiting = `${MEMORY}  metadata:\n  - name: consumerID\n    secretKeyRef:\n      name: WHO\nauth:\n  secretStore: store\n`;
  const { daprd, write } = await stage(t, {
    'a.yaml': waiting,
    'other.yaml': MEMORY.replace('name: pubsub\n', 'name: other\n'),
  });
  t.is((await publish(daprd, 'p', '1')).status, 404);
  await write('a.yaml', waiting.replace('name: WHO', 'name: ME'));
  await until(() => daprd.log().includes('Adding Component for processing: pubsub'), 'it is looked at again');
  await write('other.yaml', MEMORY.replace('name: pubsub\n', 'name: another\n'));
  await until(() => daprd.log().includes('Component updated: another'), 'that is done');
  t.false(daprd.log().includes('Component updated: pubsub'), 'it does not run');
  const store = `apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\n  name: store\nspec:\n  type: secretstores.local.env\n  version: v1\n`;
  await write('b.yaml', store);
  await until(async () => (await publish(daprd, 'p', '1')).status === 204, 'the component is there');
});
