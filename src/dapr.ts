import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { packageRoot } from './lib/package-root.ts';

enableCompileCache(join(packageRoot(), '.cache', 'compile'));
void import('./cli/main.ts').then(async ({ main }) => {
  process.exitCode = await main(process.argv.slice(2));
});
