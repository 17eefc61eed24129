/** What `npm pack` makes, beside the packages that it wants: the bundles of `npm run build`, started as a user would. */

import { execFile } from 'node:child_process';
import { existsSync, globSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { temporaryDirectory } from '../_support/daprd.ts';
import { startHttpApp } from '../_support/http-app.ts';
import { until } from '../_support/until.ts';
import { dapr, listed, ROOT, startDapr, temporaryHome } from './command.ts';

const run = promisify(execFile);

/** The folder of the package. */
async function pack(t: ExecutionContext): Promise<string> {
  const folder = await temporaryDirectory(t);
  await run('npm', ['pack', '--pack-destination', folder], { cwd: ROOT });
  const [tarball] = globSync('*.tgz', { cwd: folder });
  await run('tar', ['xzf', tarball as string], { cwd: folder });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'package', 'node_modules'));
  return join(folder, 'package');
}

test('the package publishes, delivers, tells about itself, and has what its documents lead to', async (t) => {
  const [home, folder] = [temporaryHome(t), await pack(t)];
  const place = { home, command: join(folder, 'bin', 'dapr') };
  const app = await startHttpApp({ subscribe: [{ pubsubname: 'pubsub', topic: 'orders', route: 'orders' }] });
  t.teardown(() => app.close());
  const ports = ['--dapr-http-port', '0', '--dapr-grpc-port', '0', '--metrics-port', '0'];
  startDapr(t, ['run', '--app-id', 'packed', '--app-port', String(app.port), ...ports], place);
  const { httpPort } = await listed(home, 'packed');
  const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${httpPort}/v1.0/${path}`);
  await until(async () => (await get('healthz')).status === 204, 'it is ready', 60_000);
  t.like(await (await get('metadata')).json(), { id: 'packed' });
  t.like(await dapr(t, ['publish', '--topic', 'orders', '--data', '1'], place), { code: 0 });
  await until(() => app.received.length === 1, 'the event arrives');

  for (const document of globSync('**/*.md', { cwd: folder, exclude: ['node_modules'] })) {
    const links = readFileSync(join(folder, document), 'utf8').matchAll(/\]\((?!\w+:)([^)#\s]+)/g);
    const dead = [...links]
      .map(([, to]) => to as string)
      .filter((to) => !existsSync(join(folder, dirname(document), to)));
    t.deepEqual(dead, [], document);
  }
});
