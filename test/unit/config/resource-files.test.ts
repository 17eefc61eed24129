import { mkdir, symlink, unlink } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { component, directoryWith, load, loadText } from './_support.ts';

test('a directory that is missing or none is an error that says so', async (t) => {
  const directory = await directoryWith(t, { 'a.yaml': component('a') });
  const missing = path.join(directory, 'none');
  await t.throwsAsync(load([directory, missing]), {
    message: `failed to load components: resources path '${missing}' does not exist`,
  });
  const file = path.join(directory, 'a.yaml');
  await t.throwsAsync(load([file]), {
    message: `failed to load components: resources path '${file}' is not a directory`,
  });
});

test('files without any resource load nothing and warn of nothing; empty ones are told to those who reload', async (t) => {
  for (const text of ['', '\uFEFF', '\r\n\r\n', '---\n', '# comment\n']) {
    const { names, lines, skipped } = await loadText(t, text);
    t.deepEqual([names, lines], [[], []], JSON.stringify(text));
    t.deepEqual(
      skipped.map(({ reason, isFault }) => ({ reason, isFault })),
      text.trim() === '' ? [{ reason: 'is empty', isFault: true }] : [],
      JSON.stringify(text),
    );
  }
});

test('hostile files are skipped and the others load', async (t) => {
  const deep = `${component('deep', '  metadata: ')}${'['.repeat(5000)}`;
  const laughs = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`).join('\n');
  const directory = await directoryWith(t, {
    'a-good.yaml': component('good'),
    'big.yaml': `${component('big')}#${'x'.repeat(2 ** 21)}`,
    'deep.yaml': deep,
    'laughs.yaml': `a0: &a0 [ha]\n${laughs}\n${component('laughs')}`,
    'latin1.yaml': Buffer.from(component('gr\xf6\xdfe'), 'latin1'),
    'nul.yaml': component('n\0l'),
    'tabs.yaml': component('tabs').replaceAll('  ', '\t'),
    'z-crlf.yaml': `\uFEFF${component('crlf').replaceAll('\n', '\r\n')}---\r\n${component('crlf2')}`,
  });
  const { names, skipped } = await load([directory]);
  t.deepEqual(names, ['good', 'crlf', 'crlf2']);
  t.deepEqual(
    skipped.map(({ file, reason }) => `${path.basename(file)}: ${reason}`),
    [
      'big.yaml: larger than 1 MiB',
      'deep.yaml: nesting exceeded maxDepth (64) (line 8)',
      'latin1.yaml: not UTF-8 text',
      'laughs.yaml: aliases exceeded maxAliases (20) (line 4)',
      'nul.yaml: null byte is not allowed in input (line 4)',
      'tabs.yaml: tab characters must not be used in indentation (line 4)',
    ],
  );
});

test('keys that name a prototype change nothing', async (t) => {
  const { components } = await loadText(
    t,
    component('a', '  __proto__: {ignoreErrors: true}\n  metadata: [{name: __proto__, value: x}]\n'),
  );
  t.false(components[0]?.ignoreErrors);
  t.deepEqual(components[0]?.metadata, [{ name: '__proto__', value: 'x' }]);
  t.is(({} as Record<string, unknown>)['ignoreErrors'], undefined);
});

test('links are followed inside the directory, as in mounted configuration, and not out of it', async (t) => {
  const outside = await directoryWith(t, { 'secret.yaml': component('outside') });
  const directory = await directoryWith(t, { '..data/real.yaml': component('inside') });
  await symlink(path.join('..data', 'real.yaml'), path.join(directory, 'a.yaml'));
  await symlink(path.join(outside, 'secret.yaml'), path.join(directory, 'b.yaml'));
  await symlink('nowhere.yaml', path.join(directory, 'c.yaml'));
  await mkdir(path.join(directory, 'd.yaml'));
  const { names, skipped } = await load([directory]);
  t.deepEqual(names, ['inside']);
  t.is(skipped[0]?.reason, 'a link that leads out of the directory');
  t.regex(skipped[1]?.reason ?? '', /^ENOENT/);
  const link = `${directory}-link`;
  await symlink(directory, link);
  t.teardown(() => unlink(link));
  t.deepEqual((await load([link])).names, ['inside']);
});
