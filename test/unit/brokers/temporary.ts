import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** A directory that is gone at the end of the test. */
export function temporary(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'brokers-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}
