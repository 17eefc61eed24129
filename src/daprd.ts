import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from './lib/package-root.ts';

enableCompileCache(join(packageRoot(), '.cache', 'compile'));
void import('./daemon.ts').then(async ({ main }) => {
  process.exit(await main(process.argv.slice(2), process.env));
});
