import { spawn } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import test from 'ava';
import { temporaryDirectory } from './_support/daprd.ts';

const MAIN = join(import.meta.dirname, '..', 'bench', 'main.ts');

test('a sidecar that does not start is told with the end of its log, and not waited for again', async (t) => {
  const binary = join(await temporaryDirectory(t), 'sidecar');
  writeFileSync(binary, '#!/bin/sh\necho "no such component" >&2\nexit 3\n');
  chmodSync(binary, 0o755);
  const what = ['--quick', '-n', '100', '--broker', 'memory', '--scenario', 'http-publish,grpc-publish'];
  const bench = spawn(process.execPath, [MAIN, '--bin', `broken=${binary}`, ...what], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  t.teardown(() => bench.kill('SIGINT'));
  const said = await text(bench.stderr);
  t.regex(said, /round 1 http-publish memory broken: .* ended with 3\n {4}no such component\n/);
  t.notRegex(said, /grpc-publish/);
});
