import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { readText, yamlDocuments } from '../../../src/config/yaml.ts';
import { directoryWith } from './_support.ts';

const contents = (text: string): unknown[] => yamlDocuments(text).map(({ content }) => content);
const faults = (text: string): (string | undefined)[] => yamlDocuments(text).map(({ error }) => error?.message);

test('documents are separated by lines of three dashes', (t) => {
  t.deepEqual(contents('a: 1\n---\nb: 2\n--- # comment\nc: 3\n'), [{ a: '1' }, { b: '2' }, { c: '3' }]);
  t.deepEqual(contents('---\r\na: 1\r\n---\r\nb: 2\r\n'), [{ a: '1' }, { b: '2' }]);
  t.deepEqual(contents('--- {a: 1}\n...\n--- [b]'), [{ a: '1' }, ['b']]);
});

test('three dashes inside a value separate nothing', (t) => {
  t.deepEqual(contents('a: |\n  ---\n  -----BEGIN KEY-----\nb: 1\n'), [{ a: '---\n-----BEGIN KEY-----\n', b: '1' }]);
});

test('text without any document has none', (t) => {
  for (const text of ['', '\n', '---', '---\n', '---\n---\n', '# only a comment\n', '~\n']) {
    t.deepEqual(yamlDocuments(text), [], JSON.stringify(text));
  }
});

test('scalars stay as they were written, and null is null', (t) => {
  t.deepEqual(contents('[1.10, 007, 12345678901234567890, 1e3, True, yes, 2020-01-01, "x", ~, null, ]'), [
    ['1.10', '007', '12345678901234567890', '1e3', 'True', 'yes', '2020-01-01', 'x', null, null],
  ]);
});

test('of duplicate keys the last counts', (t) => {
  t.deepEqual(contents('a: 1\nb: 2\na: 3\n'), [{ a: '3', b: '2' }]);
});

test('a broken document leaves the others alone and says in which line it broke', (t) => {
  const documents = yamlDocuments('a: 1\n---\nb: 1\n\tc: 2\n---\nd: 3\n');
  t.deepEqual(
    documents.map(({ number, content }) => [number, content]),
    [
      [1, { a: '1' }],
      [2, undefined],
      [3, { d: '3' }],
    ],
  );
  t.is(documents[1]?.error?.message, 'tab characters must not be used in indentation (line 4)');
});

test('a fault does not quote the text around it', (t) => {
  for (const text of [
    'password: *hunter2',
    'password: !hunter2 x',
    'password: !<hunter2> x',
    'password: "hunter2',
    'password: [hunter2',
    'password: hunter2\n\thunter2: x',
    'password: {hunter2',
    'password: !hunter2!x y',
    'password: hunter2: hunter2',
  ]) {
    const error = yamlDocuments(text)[0]?.error;
    t.regex(error?.message ?? '', /\(line \d\)$/, text);
    t.false(`${error?.stack} ${JSON.stringify(error)} ${error?.cause}`.includes('hunter2'), text);
  }
});

test('aliases are few, so that nothing multiplies', (t) => {
  const laughs = Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
  t.deepEqual(faults(['a0: &a0 [ha]', ...laughs].join('\n')), ['aliases exceeded maxAliases (20) (line 4)']);
  t.deepEqual(contents('a: &a {k: v}\nb: *a\n'), [{ a: { k: 'v' }, b: { k: 'v' } }]);
});

test('merge keys work and are bounded', (t) => {
  t.deepEqual(contents('base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n'), [
    { base: { a: '1', b: '2' }, use: { a: '1', b: '3' } },
  ]);
  const wide = `base: &base {${Array.from({ length: 600 }, (_, i) => `k${i}: v`).join(', ')}}`;
  t.deepEqual(faults(`${wide}\na: {<<: *base}\nb: {<<: *base}\n`), [
    'merge keys exceeded maxTotalMergeKeys (1000) (line 3)',
  ]);
});

test('nesting is bounded', (t) => {
  t.deepEqual(faults('['.repeat(100) + ']'.repeat(100)), ['nesting exceeded maxDepth (64) (line 1)']);
  t.deepEqual(faults('- '.repeat(100_000)), ['nesting exceeded maxDepth (64) (line 1)']);
});

test('keys that name a prototype are keys like any other', (t) => {
  const [content] = contents(
    '__proto__: {polluted: yes}\nconstructor: {prototype: {polluted: yes}}\n<<: {__proto__: {polluted: yes}}\n',
  );
  t.deepEqual(Object.keys(content as object), ['__proto__', 'constructor']);
  t.is(Object.getPrototypeOf(content), Object.prototype);
  t.is(({} as Record<string, unknown>)['polluted'], undefined);
});

test('NUL and other characters that are no text are refused', (t) => {
  t.deepEqual(faults('a: \0\n'), ['null byte is not allowed in input (line 1)']);
  t.deepEqual(faults('a: \x07\n'), ['the stream contains non-printable characters (line 1)']);
});

test('types of other languages are refused', (t) => {
  t.deepEqual(faults('a: !!js/function "x"\n'), ['unknown scalar tag ! (line 1)']);
});

test('a file is read as UTF-8 without its byte order mark', async (t) => {
  const directory = await directoryWith(t, {
    'bom.yaml': '\uFEFFname: größe\n',
    'latin1.yaml': Buffer.from('name: gr\xf6\xdfe\n', 'latin1'),
    'utf16.yaml': Buffer.from('\uFEFFname: x\n', 'utf16le'),
    'empty.yaml': '',
  });
  t.is(await readText(path.join(directory, 'bom.yaml')), 'name: größe\n');
  t.is(await readText(path.join(directory, 'empty.yaml')), '');
  await t.throwsAsync(readText(path.join(directory, 'latin1.yaml')), { message: 'not UTF-8 text' });
  await t.throwsAsync(readText(path.join(directory, 'utf16.yaml')), { message: 'not UTF-8 text' });
});

test('a file of more than 1 MiB is not read, one of exactly that is', async (t) => {
  const directory = await directoryWith(t, { 'big.yaml': 'x'.repeat(2 ** 21), 'fits.yaml': 'x'.repeat(2 ** 20) });
  await t.throwsAsync(readText(path.join(directory, 'big.yaml')), { message: 'larger than 1 MiB' });
  t.is((await readText(path.join(directory, 'fits.yaml'))).length, 2 ** 20);
});

test('a pipe is not waited for', async (t) => {
  const pipe = path.join(await directoryWith(t), 'pipe.yaml');
  await promisify(execFile)('mkfifo', [pipe]);
  await t.throwsAsync(readText(pipe), { message: 'not a regular file' });
});
