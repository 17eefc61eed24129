/** What `dapr groups` shows and removes, while brokers in this process are at the same file. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { sqliteBroker } from '../../src/brokers/sqlite/broker.ts';
import type { Broker } from '../../src/core/broker.ts';
import { contextOf, publish, Recorder, retry, subscribe, SUCCESS, textOf, texts } from '../conformance/bench.ts';
import { componentFile } from '../_support/daprd.ts';
import { until } from '../_support/until.ts';
import { dapr, temporaryHome } from './command.ts';

interface Place {
  readonly home: string;
  open(group: string): Promise<Broker>;
}

function place(t: ExecutionContext, settings: Readonly<Record<string, string>> = {}): Place {
  const home = temporaryHome(t);
  const open = async (group: string): Promise<Broker> => {
    const broker = await sqliteBroker.open(settings, contextOf(group, join(home, '.dapr')));
    t.teardown(() => broker.close());
    return broker;
  };
  return { home, open };
}

interface Shown {
  readonly group: string;
  readonly topic: string;
}
const inJson = async (t: ExecutionContext, home: string, ...words: string[]): Promise<Shown[]> =>
  JSON.parse((await dapr(t, ['groups', '-o', 'json', ...words], { home })).stdout) as Shown[];

/** A group that settled one message, parked one, and has not seen the last one. */
async function leaveBehind({ open }: Place, group: string, topic = 'orders'): Promise<void> {
  const broker = await open(group);
  const recorder = new Recorder((message) => (textOf(message) === 'm-1' ? retry(Infinity) : SUCCESS));
  const subscription = await subscribe(broker, topic, recorder);
  await publish(broker, topic, ...texts('m', 2));
  await until(async () => (await broker.stats(topic)).parked === 1, 'one is parked');
  await subscription.close(AbortSignal.abort());
  await publish(broker, topic, 'm-2');
  await broker.close();
}

test.serial('groups are listed with what they have not handled and whether somebody uses them', async (t) => {
  const there = place(t);
  const { home } = there;
  t.is((await dapr(t, ['groups'], { home })).stdout, 'GROUP  TOPIC  LAG  PENDING  PARKED  IN USE\n');
  await leaveBehind(there, 'old-app');
  const recorder = new Recorder();
  await subscribe(await there.open('app'), 'orders', recorder);
  await until(() => recorder.messages.length === 3, 'a new group has all');
  const { code, stdout } = await dapr(t, ['groups'], { home });
  t.is(code, 0);
  t.regex(stdout, /^app +orders +0 +0 +0 +yes\nold-app +orders +1 +1 +0 +no$/m);
  const [app, old] = await inJson(t, home);
  t.like(app, { group: 'app', topic: 'orders', lag: 0, pending: 0, inUse: true });
  t.like(old, { group: 'old-app', topic: 'orders', lag: 1, pending: 1, parked: 0, inUse: false });
});

test.serial('a group is removed by its name, unless a sidecar uses it; others keep theirs', async (t) => {
  const there = place(t);
  const { home } = there;
  await leaveBehind(there, 'old-app');
  await leaveBehind(there, 'other', 'bills');
  const user = await there.open('old-app');
  const recorder = new Recorder(() => new Promise(() => undefined));
  await subscribe(user, 'orders', recorder);
  await until(() => recorder.messages.length > 0, 'it is in use');
  const refused = await dapr(t, ['groups', '--remove', 'old-app', '--yes'], { home });
  t.is(refused.code, 1);
  t.regex(refused.stderr, /^error {2}IN_USE {2}a sidecar that runs takes messages for old-app$/m);
  t.is((await inJson(t, home)).length, 2);
  await user.close();

  const { code, stdout } = await dapr(t, ['groups', '--remove', 'old-app', '--yes'], { home });
  t.is(code, 0);
  t.regex(stdout, /^removed old-app, which had not handled \d of orders\n$/);
  const left = await inJson(t, home);
  t.is(left.length, 1);
  t.like(left[0], { group: 'other', topic: 'bills', lag: 1, pending: 1 });
});

test.serial('what cannot be looked at or removed says why', async (t) => {
  const there = place(t);
  const { home } = there;
  await leaveBehind(there, 'old-app');
  const unknown = await dapr(t, ['groups', '--remove', 'old-ap'], { home });
  t.is(unknown.code, 3);
  t.is(unknown.stderr, 'error  NO_GROUP  there is no group "old-ap"\nnext   did you mean old-app?\n');
  mkdirSync(join(home, 'redis'));
  writeFileSync(join(home, 'redis', 'p.yaml'), componentFile('pubsub.redis', { redisHost: 'localhost' }));
  const redis = await dapr(t, ['groups', '--resources-path', 'redis'], { home });
  t.is(redis.code, 3);
  t.regex(redis.stderr, /the groups of "pubsub" \(pubsub\.redis\) are looked at with the tools of that broker/);
  t.is((await dapr(t, ['__complete', 'groups', '--remove', ''], { home })).stdout, 'old-app\n');
});

test.serial('a component elsewhere is found by its file', async (t) => {
  const home = temporaryHome(t);
  const path = join(home, 'elsewhere.db');
  const { open } = place(t, { connectionString: path });
  await subscribe(await open('app'), 't', new Recorder());
  mkdirSync(join(home, 'resources'));
  writeFileSync(join(home, 'resources', 'p.yaml'), componentFile('pubsub.sqlite', { connectionString: path }));
  t.like((await inJson(t, home, '--resources-path', 'resources'))[0], { group: 'app', topic: 't', inUse: true });
});

test.serial(
  'a path that is a secret is read from its store, and without the store no other file is looked at',
  async (t) => {
    const home = temporaryHome(t);
    const path = join(home, 'secret.db');
    await leaveBehind(place(t), 'elsewhere');
    await subscribe(await place(t, { connectionString: path }).open('app'), 't', new Recorder());
    const resources = join(home, 'resources');
    mkdirSync(resources);
    writeFileSync(join(home, 'secrets.json'), JSON.stringify({ database: path }));
    const pubsub = componentFile('pubsub.sqlite').trimEnd();
    const metadata = '\n  metadata:\n  - name: connectionString\n    secretKeyRef: { name: database, key: database }\n';
    writeFileSync(join(resources, 'p.yaml'), `${pubsub}${metadata}auth: { secretStore: vault }\n`);
    const missing = await dapr(t, ['groups', '--resources-path', resources], { home });
    t.is(missing.code, 3);
    t.is(
      missing.stderr,
      'error  NO_SECRET_STORE  "pubsub" refers to secrets of "vault", which is in no file\n' +
        'next   --resources-path <directory that has it>\n',
    );
    const store = componentFile('secretstores.local.file', { secretsFile: join(home, 'secrets.json') });
    writeFileSync(join(resources, 's.yaml'), store.replace('name: pubsub', 'name: vault'));
    t.like((await inJson(t, home, '--resources-path', resources))[0], { group: 'app', topic: 't', inUse: true });
  },
);
