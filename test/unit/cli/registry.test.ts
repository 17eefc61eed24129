import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { startTicks } from '../../../src/lib/process-table.ts';
import { type Instance, instances, register } from '../../../src/lib/registry.ts';

function temporaryHome(t: ExecutionContext): string {
  const home = mkdtempSync(join(tmpdir(), 'registry-'));
  t.teardown(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

const instance = (appId: string, pid = process.pid): Instance => ({
  appId,
  pid,
  startedAt: '2026-01-02T03:04:05.000Z',
  httpHost: '127.0.0.1',
  httpPort: 3500,
  grpcPort: 50001,
  metricsPort: 9090,
  appPort: 0,
  appProtocol: 'http',
  resourcesPaths: [],
  version: '1',
  cliPid: 0,
  appPid: 0,
  command: '',
});

test('a running instance is listed until it is removed', (t) => {
  const home = temporaryHome(t);
  t.deepEqual(instances(home), []);
  const registration = register(home, instance('app1'));
  t.like(instances(home)[0], { appId: 'app1', httpPort: 3500, pid: process.pid });
  registration.update({ appPid: 42, command: 'node app.js' });
  t.like(instances(home)[0], { appPid: 42, command: 'node app.js', httpPort: 3500 });
  registration.remove();
  registration.remove();
  t.deepEqual(instances(home), []);
});

test('what cannot be written leaves nothing behind', (t) => {
  const home = temporaryHome(t);
  const registration = register(home, instance('app1'));
  registration.remove();
  const name = `app1.${process.pid}.json`;
  mkdirSync(join(home, 'run', name));
  t.throws(() => registration.update({ appPid: 42 }), { message: new RegExp(name) });
  t.deepEqual(readdirSync(join(home, 'run')), [name]);
});

test('only the owner can read an instance file', (t) => {
  const home = temporaryHome(t);
  register(home, instance('app1'));
  t.is(statSync(join(home, 'run', `app1.${process.pid}.json`)).mode & 0o777, 0o600);
  t.is(statSync(join(home, 'run')).mode & 0o777, 0o700);
});

test('an app id cannot lead out of the directory', (t) => {
  const home = temporaryHome(t);
  register(home, instance('../../evil'));
  t.deepEqual(readdirSync(home), ['run']);
  t.is(instances(home)[0]?.appId, '../../evil');
});

test('an app whose id is longer than the name of a file can be is listed, and removed', (t) => {
  const home = temporaryHome(t);
  for (const appId of ['a'.repeat(300), '%'.repeat(254)]) {
    const registration = register(home, instance(appId));
    t.is(instances(home)[0]?.appId, appId);
    registration.remove();
    t.deepEqual(readdirSync(join(home, 'run')), []);
  }
});

test('the file of a process that is gone is swept', async (t) => {
  const home = temporaryHome(t);
  const child = spawn(process.execPath, ['-e', '0']);
  register(home, instance('gone', child.pid as number));
  await once(child, 'exit');
  t.deepEqual(instances(home), []);
  t.deepEqual(readdirSync(join(home, 'run')), []);
});

test('a process that only has the pid of a former one is not taken for it', (t) => {
  if (startTicks(process.pid) === undefined) return t.pass('this system does not say when a process started');
  const home = temporaryHome(t);
  register(home, instance('recycled'));
  const path = join(home, 'run', `recycled.${process.pid}.json`);
  const file = JSON.parse(readFileSync(path, 'utf8')) as { startTicks: number };
  writeFileSync(path, JSON.stringify({ ...file, startTicks: file.startTicks - 1 }));
  t.deepEqual(instances(home), []);
});

test('a file that is none of ours is left alone and not listed', (t) => {
  const home = temporaryHome(t);
  register(home, instance('app1')).remove();
  for (const [name, text] of [
    ['a.json', '{"v":2,"pid":1}'],
    ['b.json', 'nonsense'],
    ['c.txt', ''],
  ]) {
    writeFileSync(join(home, 'run', name as string), text as string);
  }
  t.deepEqual(instances(home), []);
  t.is(readdirSync(join(home, 'run')).length, 3);
});

test('instances are listed by age', (t) => {
  const home = temporaryHome(t);
  register(home, { ...instance('younger'), startedAt: '2026-01-02T00:00:00.000Z' });
  register(home, { ...instance('older'), startedAt: '2026-01-01T00:00:00.000Z' });
  t.deepEqual(
    instances(home).map(({ appId }) => appId),
    ['older', 'younger'],
  );
});
