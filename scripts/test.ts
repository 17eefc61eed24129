/**
 * npm test: gets what the tests need, runs ava with the arguments given (files, --match ...), and ends with the line
 * `N passed, N failed`. Exits with 0 only when something passed and nothing failed.
 */

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { meetNeeds } from './needs.ts';
import { root } from './run.ts';

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

const AVA = join(root, 'node_modules/ava/entrypoints/cli.js');
const FAILED = 'tests? failed|hooks? failed|uncaught exceptions?|unhandled rejections?|tests? remained pending.*';

/** Runs ava, shows its report, and resolves with the report and ava's exit code. */
function ava(args: readonly string[]): Promise<{ report: string; code: number }> {
  // Every file of tests is a process, and half of its start is reading the same sources.
  const cache = { NODE_COMPILE_CACHE: join(root, '.cache', 'compile') };
  const env = { ...process.env, ...cache, ...(process.stdout.isTTY && { FORCE_COLOR: '1' }) };
  const child = spawn(process.execPath, [AVA, ...args], { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let report = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    process.stdout.write(chunk);
    report += chunk;
  });
  return new Promise((resolve) => child.on('close', (code) => resolve({ report, code: code ?? 1 })));
}

/**
 * Reads the summary at the end of the report. Where something failed ava leaves the passed tests out of it, and their
 * ticks are counted. A failure that has no line there (a test process that died, no tests found) is in the exit code.
 */
function count(report: string, code: number): Counts {
  const plain = stripVTControlCharacters(report);
  const summary = plain.slice(plain.lastIndexOf('─'));
  const sum = (what: string): number => {
    const lines = summary.matchAll(new RegExp(`^ *(\\d+) (?:${what})(?: \\[.*\\])?$`, 'gm'));
    return [...lines].reduce((total, line) => total + Number(line[1]), 0);
  };
  const failed = sum(FAILED);
  return {
    passed: sum('tests? passed') || (plain.match(/^ {2}[✔√] /gm) ?? []).length,
    failed: code === 0 ? failed : Math.max(failed, 1),
    skipped: sum('tests? skipped'),
  };
}

const unmet = await meetNeeds((line) => console.log(line));
for (const sentence of unmet) console.log(`${sentence}\nThe tests that need it skip themselves.`);
const strict = Boolean(process.env.CI) && process.env.CI !== 'false';
if (unmet.length > 0 && strict) {
  console.log('In CI that may not be, so no test was run.');
  console.log(`0 passed, ${unmet.length} failed`);
  process.exit(1);
}

const began = performance.now();
const { report, code } = await ava(process.argv.slice(2));
const { passed, failed, skipped } = count(report, code);
if (passed + failed === 0) console.log('No test ran.');
console.log(`tests took ${((performance.now() - began) / 1000).toFixed(1)} s`);
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = passed > 0 && failed === 0 ? 0 : 1;
