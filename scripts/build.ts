/**
 * npm run build: dist/, what the published package runs. CommonJS, because Node starts it faster than modules. Each
 * file is a bundle of its own:
 * - dapr.cjs, daprd.cjs: the entry points. What they import dynamically becomes a file beside them, so that the compile
 *   cache, which they switch on first, covers it.
 * - workers, named by `new URL('./x.ts', import.meta.url)` in the sources;
 * - packages that are large and that not every sidecar uses.
 * Packages that are imported dynamically stay in node_modules: whoever does not use them does not load them.
 */

import { readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join } from 'node:path';
import { build, type Plugin } from 'esbuild';
import { root } from './run.ts';

/** What a package has for `require`: the default export of its modules would not be that of the bundle. */
const { resolve } = createRequire(import.meta.url);
const DIST = join(root, 'dist');
/** Loaded by whoever uses them, not by every sidecar. */
const APART = ['undici', 'ioredis', 'koa'];
/** What few sidecars load and is large itself. It shares functions with the rest, never classes: it has its own copy. */
const SEAMS = [join(root, 'src/brokers/kafka/kafka-broker.ts')];
const ENTRY_POINTS = [join(root, 'src/dapr.ts'), join(root, 'src/daprd.ts')];

/** src/daprd.ts becomes daprd, src/brokers/sqlite/worker.ts sqlite-worker, a package has its own name. */
function outputName(source: string): string {
  const apart = APART.find((name) => source.includes(`/node_modules/${name}/`));
  if (apart !== undefined) return apart;
  const folder = basename(dirname(source));
  return `${folder === 'src' ? '' : `${folder}-`}${basename(source, extname(source))}`;
}

/** CommonJS has no top-level await: what follows the imports of an entry point moves into an async function. */
function withoutTopLevelAwait(text: string): string {
  const [imports = ''] = /^(?:\s*(?:\/\/.*|\/\*[\s\S]*?\*\/|import\s[^;]*;)\s*?\n)*/.exec(text) ?? [];
  return `${imports}void (async () => {${text.slice(imports.length)}})();`;
}

/** Names the files that become bundles of their own, through `separate`, as they are met. */
const splitting = (separate: (source: string) => string): Plugin => ({
  name: 'splitting',
  setup(pluginBuild) {
    pluginBuild.onResolve({ filter: /./ }, ({ path, kind, importer }) => {
      if (APART.includes(path)) return { path: separate(resolve(path)), external: true };
      const seam = SEAMS.find((file) => importer !== '' && join(dirname(importer), path) === file);
      if (seam !== undefined) return { path: separate(seam), external: true };
      if (kind !== 'dynamic-import') return undefined;
      if (!path.startsWith('.')) return { path, external: true };
      return ENTRY_POINTS.includes(importer)
        ? { path: separate(join(dirname(importer), path)), external: true }
        : undefined;
    });
    pluginBuild.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8').replaceAll(
        /new URL\(\s*'(\.[^']*\.ts)',\s*import\.meta\.url/g,
        (_, worker: string) => `new URL('${separate(join(dirname(path), worker))}', import.meta.url`,
      );
      return { contents: ENTRY_POINTS.includes(path) ? withoutTopLevelAwait(text) : text, loader: 'ts' };
    });
  },
});

async function bundle(source: string, separate: (source: string) => string): Promise<void> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: { [outputName(source)]: source },
    outdir: DIST,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node24',
    // `import()` would go through the loader of modules, which takes longer than all of `require`.
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': 'bundleUrl', 'import.meta.dirname': '__dirname' },
    banner: { js: `const bundleUrl = require('node:url').pathToFileURL(__filename).href;` },
    plugins: [splitting(separate)],
    metafile: true,
    // Names stay for the sake of stack traces; white space would be two thirds of the text that is kept in memory.
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
  });
  for (const [file, { bytes }] of Object.entries(metafile.outputs)) {
    console.log(`${file} ${Math.ceil(bytes / 1024)} KiB`);
  }
}

rmSync(DIST, { recursive: true, force: true });
const sources = new Set(ENTRY_POINTS);
// The set grows while it is iterated: what a bundle splits off comes behind it.
for (const source of sources) {
  await bundle(source, (file) => {
    sources.add(file);
    return `./${outputName(file)}.cjs`;
  });
}
