import { join } from 'node:path';

/**
 * The file the database thread starts from: the source beside this one, or, in the bundle, `sqlite-worker.cjs`
 * beside the bundle (there this file is CommonJS and has a `__dirname`). The only place that knows.
 */
export function workerEntry(): string | URL {
  return typeof __dirname === 'string' ? join(__dirname, 'sqlite-worker.cjs') : new URL('./worker.ts', import.meta.url);
}
