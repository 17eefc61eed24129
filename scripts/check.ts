/** npm run check: everything that has to hold before a commit lands. The static checks first, all at once; then the tests. */

import { spawn } from 'node:child_process';
import { run, root } from './run.ts';

interface Check {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** What to do when it fails. */
  readonly advice: string;
}

const CHECKS: readonly Check[] = [
  { name: 'format', command: ['prettier', '--check', '--log-level=warn', '.'], advice: '`npm run format` mends it' },
  { name: 'lint', command: ['eslint', '--max-warnings=0', '.'], advice: '`npm run lint` shows it again' },
  { name: 'types', command: ['tsc', '--noEmit'], advice: '`npm run types` shows it again' },
  {
    name: 'generated code',
    command: ['node', 'scripts/generate.ts', '--check'],
    advice: '`npm run generate` mends it',
  },
  { name: 'layering', command: ['ava', 'test/architecture.test.ts'], advice: 'docs/architecture.md has the rules' },
];

const seconds = (since: number): string => `${((performance.now() - since) / 1000).toFixed(1)} s`;

async function passes({ name, command: [file, ...args] }: Check): Promise<boolean> {
  const began = performance.now();
  const { output, code } = await run(file, args);
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(15)} ${seconds(began)}`);
  if (code !== 0) console.log(output.trimEnd());
  return code === 0;
}

const results = await Promise.all(CHECKS.map(passes));
const failed = CHECKS.filter((_, index) => !results[index]);
if (failed.length > 0) {
  const list = failed.map(({ name, advice }) => `${name} (${advice})`).join(', ');
  console.log(`The tests were not run, because these checks failed: ${list}.`);
  console.log(`0 passed, ${failed.length} failed`);
  process.exit(1);
}
const tests = spawn(process.execPath, ['scripts/test.ts'], { cwd: root, stdio: 'inherit' });
tests.on('exit', (code) => (process.exitCode = code ?? 1));
