/**
 * The rules of the house that a compiler does not know: who may import whom, and how a file looks. The table below
 * is the law; docs/architecture.md explains it.
 */

import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';
import ts from 'typescript';

const ROOT = join(import.meta.dirname, '..');
const MAX_LINES = 350;
const VAGUE = /^(utils?|commons?|helpers?|misc|types?|todo|shared|lib|index)$/;
/** The only files that read the environment; entry points hand it on. */
const READS_ENVIRONMENT = ['src/config/flags.ts', 'src/cli/environment.ts', 'src/dapr.ts', 'src/daprd.ts'];
const ENTRY_POINTS = ['src/dapr.ts', 'src/daprd.ts'];

/** What the files of a layer may import: other layers (by path prefix) and packages. Its own folder goes without saying. */
interface Layer {
  readonly files: RegExp;
  readonly imports: readonly string[];
  readonly packages: readonly string[];
}

const BROKER = ['src/lib/', 'src/core/broker.ts', 'src/core/errors.ts'];
const CORE = ['src/lib/', 'src/core/'];
const PROTO = ['gen/', ...CORE];
const GRPC = ['@grpc/grpc-js', '@bufbuild/protobuf'];

/** The first layer whose pattern fits a file is its layer. */
const LAYERS: Readonly<Record<string, Layer>> = {
  lib: { files: /^src\/lib\//, imports: [], packages: [] },
  core: { files: /^src\/core\//, imports: ['src/lib/'], packages: ['@marcbachmann/cel-js', 're2js'] },
  'list of brokers': { files: /^src\/brokers\/index\.ts$/, imports: ['src/brokers/', ...BROKER], packages: [] },
  'memory broker': { files: /^src\/brokers\/memory\//, imports: BROKER, packages: [] },
  'sqlite broker': { files: /^src\/brokers\/sqlite\//, imports: BROKER, packages: ['node:sqlite'] },
  'redis broker': { files: /^src\/brokers\/redis\//, imports: BROKER, packages: ['ioredis'] },
  'kafka broker': {
    files: /^src\/brokers\/kafka\//,
    imports: BROKER,
    packages: ['kafkajs', 'snappyjs', 'lz4js', 'avsc', '@aws-sdk/credential-providers', '@smithy/*'],
  },
  'pluggable broker': { files: /^src\/brokers\/pluggable\//, imports: ['gen/', ...BROKER], packages: GRPC },
  channels: { files: /^src\/channels\//, imports: PROTO, packages: ['undici', ...GRPC] },
  config: { files: /^src\/config\//, imports: CORE, packages: ['js-yaml'] },
  observe: { files: /^src\/observe\//, imports: CORE, packages: ['re2js', '@opentelemetry/*', '@grpc/grpc-js'] },
  rpc: { files: /^src\/rpc\//, imports: ['src/channels/', ...PROTO], packages: ['@grpc/*', '@bufbuild/protobuf'] },
  http: { files: /^src\/http\//, imports: ['src/rpc/', ...PROTO], packages: ['koa'] },
  sidecar: {
    files: /^src\/(sidecar|servers|announce|app|deliveries|loaded-resources|reload|daemon)\.ts$/,
    imports: ['src/', 'gen/', '!src/cli/', '!src/dapr'],
    packages: [],
  },
  cli: { files: /^src\/cli\//, imports: ['src/', '!src/dapr'], packages: ['js-yaml'] },
  'entry point': { files: /^src\/daprd?\.ts$/, imports: ['src/'], packages: [] },
};
/** Built-in modules that belong to one layer; the others are anybody's. */
const OWNED_BUILTINS = ['node:sqlite'];

interface Import {
  /** A path from the root, or the name of a package. */
  readonly target: string;
  readonly isPackage: boolean;
}

const packageName = (specifier: string): string =>
  specifier.startsWith('node:')
    ? specifier
    : specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');

/** Static, type-only and dynamic imports, and files named by `new URL('./x.ts', import.meta.url)` (workers). */
function importsOf(file: string, text: string): Import[] {
  const specifiers = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
  const urls = [...text.matchAll(/new URL\(\s*'(\.[^']*\.ts)',\s*import\.meta\.url/g)].map(
    ([, path]) => path as string,
  );
  return [...specifiers, ...urls].map((specifier) =>
    specifier.startsWith('.')
      ? { target: normalize(join(dirname(file), specifier)), isPackage: false }
      : { target: packageName(specifier), isPackage: true },
  );
}

const allowsPackage = (layer: Layer, name: string): boolean =>
  (name.startsWith('node:') && !OWNED_BUILTINS.includes(name)) ||
  layer.packages.some((one) => (one.endsWith('*') ? name.startsWith(one.slice(0, -1)) : name === one));

function allowsFile(layer: Layer, target: string): boolean {
  if (layer.imports.some((prefix) => prefix.startsWith('!') && target.startsWith(prefix.slice(1)))) return false;
  return layer.files.test(target) || layer.imports.some((prefix) => target.startsWith(prefix));
}

function importProblems(file: string, text: string): string[] {
  const [name, layer] = Object.entries(LAYERS).find(([, { files }]) => files.test(file)) ?? [];
  if (!layer) return [`${file} belongs to no layer; the layers are: ${Object.keys(LAYERS).join(', ')}`];
  return importsOf(file, text)
    .filter(({ target, isPackage }) => !(isPackage ? allowsPackage : allowsFile)(layer, target))
    .map(({ target, isPackage }) => {
      const rule = isPackage ? layer.packages : layer.imports;
      const allowed = rule.length > 0 ? `only ${rule.join(', ')}` : `no ${isPackage ? 'package' : 'other folder'}`;
      return `${file} imports ${target}: layer '${name}' may import ${allowed}`;
    });
}

function formProblems(file: string, text: string): string[] {
  const problems: string[] = [];
  const lines = text.split('\n').length - 1;
  if (lines > MAX_LINES) problems.push(`${file} has ${lines} lines: ${MAX_LINES} is the limit`);
  if (/^export default\b|^export \{[^}]*\bas default\b/m.test(text)) {
    problems.push(`${file} has a default export: named exports only`);
  }
  if (/\bprocess\s*\.\s*env\b|\benv\b[^;]*from 'node:process'/.test(text) && !READS_ENVIRONMENT.includes(file)) {
    problems.push(`${file} reads process.env: only ${READS_ENVIRONMENT.join(', ')} do`);
  }
  return [...problems, ...nameProblems(file)];
}

/** `lib` is a layer and brokers/index.ts the one barrel; elsewhere these names say nothing. */
function nameProblems(file: string): string[] {
  const parts = file.replace(/^src\/(lib\/|brokers\/index\.ts$)?/, '').split('/');
  return parts.flatMap((part) => {
    const name = part.replace(/\.ts$/, '');
    if (VAGUE.test(name)) return [`${file}: '${name}' does not say what is in it`];
    return /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name) || name === '' ? [] : [`${file}: '${name}' is not kebab-case`];
  });
}

/** Files that no entry point leads to. */
function unreachable(sources: ReadonlyMap<string, string>): string[] {
  const reached = new Set<string>();
  const open = [...ENTRY_POINTS];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    const text = sources.get(file);
    if (text === undefined || reached.has(file)) continue;
    reached.add(file);
    open.push(...importsOf(file, text).map(({ target }) => target));
  }
  return [...sources.keys()].filter((file) => !reached.has(file));
}

const sources = new Map(
  globSync('src/**/*.ts', { cwd: ROOT })
    .toSorted()
    .map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]),
);
const everywhere = (problems: (file: string, text: string) => string[]): string[] =>
  [...sources].flatMap(([file, text]) => problems(file, text));

test('every import follows the layering', (t) => {
  t.deepEqual(everywhere(importProblems), []);
});

test('every source file has a telling name, named exports, at most 350 lines, and leaves the environment alone', (t) => {
  t.deepEqual(everywhere(formProblems), []);
});

test('every source file is reached from an entry point', (t) => {
  t.deepEqual(unreachable(sources), []);
});

test('an import against the layering is named with file, import and rule', (t) => {
  const problem = (file: string, specifier: string): string[] =>
    importProblems(file, `import { x } from '${specifier}';`);
  t.deepEqual(problem('src/core/delivery.ts', '../http/routes.ts'), [
    "src/core/delivery.ts imports src/http/routes.ts: layer 'core' may import only src/lib/",
  ]);
  t.deepEqual(problem('src/lib/sleep.ts', 'koa'), ["src/lib/sleep.ts imports koa: layer 'lib' may import no package"]);
  const refused: [string, string][] = [
    ['src/http/routes.ts', '../brokers/memory/broker.ts'],
    ['src/brokers/redis/broker.ts', '../../core/delivery.ts'],
    ['src/brokers/redis/broker.ts', '../memory/broker.ts'],
    ['src/core/broker.ts', '@grpc/grpc-js'],
    ['src/brokers/memory/broker.ts', 'node:sqlite'],
    ['src/sidecar.ts', './cli/run.ts'],
    ['src/new-folder/thing.ts', '../lib/sleep.ts'],
  ];
  for (const [file, specifier] of refused) t.is(problem(file, specifier).length, 1, `${file} ${specifier}`);
  t.deepEqual(problem('src/brokers/redis/broker.ts', '../../core/broker.ts'), []);
  t.deepEqual(problem('src/http/routes.ts', 'node:http'), []);
});

test('type-only imports, dynamic imports and worker files count as imports', (t) => {
  const text = [
    `import type { A } from './a.ts';`,
    `const b = await import('./b.ts');`,
    `new Worker(new URL('./c.ts', import.meta.url));`,
  ].join('\n');
  const targets = importsOf('src/core/x.ts', text).map(({ target }) => target);
  t.deepEqual(targets, ['src/core/a.ts', 'src/core/b.ts', 'src/core/c.ts']);
});

test('what a file must not look like is named', (t) => {
  t.is(formProblems('src/core/utils.ts', '').length, 1);
  t.is(formProblems('src/core/helpers/x.ts', '').length, 1);
  t.is(formProblems('src/core/CloudEvent.ts', '').length, 1);
  t.is(formProblems('src/core/x.ts', '\n'.repeat(351)).length, 1);
  t.is(formProblems('src/core/x.ts', 'export default 1;').length, 1);
  t.is(formProblems('src/core/x.ts', 'const home = process.env.HOME;').length, 1);
  t.deepEqual(formProblems('src/lib/sleep.ts', 'export const x = 1;\n'), []);
  t.deepEqual(formProblems('src/config/flags.ts', 'process.env;'), []);
});
