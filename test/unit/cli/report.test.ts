import { fork } from 'node:child_process';
import { once } from 'node:events';
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type AppProcess, type Channel, reporter } from '../../../src/lib/report.ts';

const REPORT = new URL('../../../src/lib/report.ts', import.meta.url).href;

test('without a channel nothing is sent and nothing is heard', (t) => {
  const { send, onAppProcess, onDisconnect } = reporter(new EventEmitter() as unknown as Channel);
  send({ type: 'ready' });
  onAppProcess(() => t.fail());
  onDisconnect(() => t.fail());
  t.pass();
});

test('reports arrive at the parent, the app at the child, and the end of the parent is heard', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'report-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const script = join(directory, 'child.mjs');
  writeFileSync(
    script,
    `import { reporter } from '${REPORT}';
     const { send, onAppProcess, onDisconnect } = reporter(process);
     const alive = setInterval(() => {}, 1000);
     onAppProcess(({ pid, command }) => send({ type: 'failed', message: pid + ' ' + command }));
     onDisconnect(() => { clearInterval(alive); process.exitCode = 7; });
     send({ type: 'ready' });`,
  );
  const child = fork(script);
  t.deepEqual((await once(child, 'message'))[0], { type: 'ready' });
  child.send({ type: 'something else' });
  child.send({ type: 'app-process', pid: 42, command: 'node app.js' } satisfies AppProcess & { type: string });
  t.deepEqual((await once(child, 'message'))[0], { type: 'failed', message: '42 node app.js' });
  child.disconnect();
  t.deepEqual(await once(child, 'exit'), [7, null]);
});

test('a parent that went away during the start is noticed', async (t) => {
  const channel = Object.assign(new EventEmitter(), { connected: false, send: () => true });
  await new Promise<void>((resolve) => reporter(channel as unknown as Channel).onDisconnect(resolve));
  t.pass();
});
