// To be imported first by a process that starts others. However it ends, SIGKILL included, all that it started and that
// those started is killed after it, and their temporary files are removed: they are in a folder, which their
// environment names. Plain JavaScript for scripts/bootstrap.mjs. Does nothing on Windows.

import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

if (process.platform !== 'win32') {
  const folder = mkdtempSync(join(tmpdir(), 'dapr-'));
  const script = fileURLToPath(new URL('orphans.sh', import.meta.url));
  // In a session of its own, out of reach of a Ctrl-C and of a terminal that closes.
  const watcher = spawn('/bin/sh', [script, folder], { cwd: '/', detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  watcher.unref();
  watcher.stdin.unref();
  process.env.TMPDIR = folder;
  // A test file would go on without the test runner that forked it.
  process.once('disconnect', () => process.exit());
}
