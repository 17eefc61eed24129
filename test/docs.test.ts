/** Documents say what the code does: what can be printed from the code is compared with what they say. */

import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import { FACTORIES } from '../src/brokers/index.ts';
import { describePluggable } from '../src/brokers/pluggable/broker.ts';
import { openDatabase } from '../src/brokers/sqlite/schema.ts';
import { parse } from '../src/cli/parse.ts';
import { loadResources } from '../src/config/resources.ts';
import { ERRORS, GrpcCode } from '../src/core/errors.ts';
import { temporaryDirectory } from './_support/daprd.ts';
import { memoryLog } from './unit/config/_support.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** The tables of a document whose first column is called `first`, as they stand there. */
function tables(document: string, first: string): string[] {
  const blocks = read(document).match(/(?:^\|.*\n)+/gm) ?? [];
  return blocks.filter((block) => block.startsWith(`| ${first} |`)).map((block) => block.trimEnd());
}

const cellsOf = (row: string): string[] =>
  row
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());

const code = (text: string): string => (text === '' ? 'none' : `\`${text}\``);

function errorTable(): string {
  const names = new Map<number, string>(Object.entries(GrpcCode).map(([name, number]) => [number, name]));
  const rows = Object.entries(ERRORS).map(([kind, { grpc, http, tag, reason, resource }]) => {
    const hasResource = resource && reason !== '' ? 'yes' : 'no';
    return `| \`${kind}\` | ${names.get(grpc)} (${grpc}) | ${http} | \`${tag}\` | ${code(reason)} | ${hasResource} |`;
  });
  const head = '| kind | gRPC code | HTTP status | `errorCode` | `reason` | ResourceInfo |';
  return [head, '| --- | --- | --- | --- | --- | --- |', ...rows].join('\n');
}

test('the table of errors is the one in the code, and each error is explained once', (t) => {
  const [table, meanings = ''] = tables('docs/errors.md', 'kind');
  t.is(table, errorTable(), 'docs/errors.md wants this table');
  t.deepEqual(
    meanings
      .split('\n')
      .slice(2)
      .map((row) => cellsOf(row)[0]),
    Object.keys(ERRORS).map(code),
  );
});

test('every broker has its table of settings, and no other has one', (t) => {
  const described = [...FACTORIES.map((factory) => factory.describe()), describePluggable()];
  const wanted = described.map((table) => table.trimEnd());
  t.deepEqual(tables('docs/brokers.md', 'setting').toSorted(), wanted.toSorted());
  const titles = [...read('docs/brokers.md').matchAll(/^## `(.+)`$/gm)].map(([, type]) => type);
  t.deepEqual(titles.toSorted(), FACTORIES.map(({ type }) => type).toSorted());
});

test('the tests that compatibility.md names exist', (t) => {
  const document = read('docs/compatibility.md');
  const named = [...document.matchAll(/`(test\/[^`]+\.test\.ts)`((?: "[^"]+")*)/g)];
  t.true(named.length > 0);
  const missing = named.flatMap(([, file = '', titles = '']) => {
    if (!existsSync(join(ROOT, file))) return [file];
    const text = read(file);
    const wanted = [...titles.matchAll(/"([^"]+)"/g)].map(([, title]) => title as string);
    return wanted.filter((title) => !text.includes(title)).map((title) => `${file}: ${title}`);
  });
  t.deepEqual(missing, []);
});

/** What compatibility.md says of the contract: each row of its tables with the cell that has the state. */
function contract(): { row: string; state: string }[] {
  const blocks = read('docs/compatibility.md').match(/(?:^\|.*\n)+/gm) ?? [];
  return blocks.flatMap((block) => {
    const [head = '', , ...rows] = block.trimEnd().split('\n');
    const column = cellsOf(head).indexOf('state');
    return rows.map((row) => ({ row, state: cellsOf(row)[column] ?? '' }));
  });
}

test('every row of compatibility.md has one of the states it explains', (t) => {
  const rows = contract();
  const states = rows.map(({ state }) => state).filter((state) => state.startsWith('`'));
  t.deepEqual(states, ['`done`', '`differs`', '`partial`', '`not yet`', '`no`']);
  const known = /^(`?)(done|differs|partial|not yet|no)\1(: |$)/;
  t.deepEqual(
    rows.filter(({ state }) => !known.test(state)),
    [],
  );
});

test('what is done, or done otherwise, names what shows it', (t) => {
  const blocks = read('docs/compatibility.md').match(/(?:^\|.*\n)+/gm) ?? [];
  const unshown = blocks.flatMap((block) => {
    const [head = '', , ...rows] = block.trimEnd().split('\n');
    const [state, shown] = ['state', 'shown by'].map((name) => cellsOf(head).indexOf(name)) as [number, number];
    if (shown < 0) return [];
    const isDone = (row: string): boolean => /^(done|differs|partial)/.test(cellsOf(row)[state] ?? '');
    return rows.filter((row) => isDone(row) && !/^(`test\/|the same$)/.test(cellsOf(row)[shown] ?? ''));
  });
  t.deepEqual(unshown, []);
});

test('every method, message and field of the protos has a row in compatibility.md', (t) => {
  const rows = contract().map(({ row }) => row);
  const missing = globSync('proto/dapr/**/*.proto', { cwd: ROOT }).flatMap((path) => {
    const text = read(path).replaceAll(/\/\/.*$/gm, '');
    const methods = [...text.matchAll(/^\s*rpc (\w+)/gm)].map(([, name]) => name as string);
    const messages = [...text.matchAll(/^message (\w+) \{(\}|[\s\S]*?^\})/gm)];
    return [
      ...methods.filter((name) => !rows.some((row) => row.includes(`\`${name}\``))),
      ...messages.flatMap(([, name = '', body = '']) => {
        const own = rows.filter((row) => row.includes(`\`${name}\``)).join('\n');
        const fields = [...body.matchAll(/(\w+) = \d+(?: \[.*?\])?;/g)].map(([, field]) => field as string);
        const unnamed = fields.filter((field) => field !== field.toUpperCase() && !own.includes(`\`${field}\``));
        return own === '' ? [name] : unnamed.map((field) => `${name}.${field}`);
      }),
    ];
  });
  t.deepEqual(missing, []);
});

test('chosen differences are cases with a reason', (t) => {
  const reasons = JSON.parse(read('docs/chosen-differences.json')) as Record<string, unknown>;
  t.true(Object.values(reasons).every((reason) => typeof reason === 'string' && reason.endsWith('.')));
});

test('the list of decisions has all of them, in order', (t) => {
  const listed = [...read('docs/decisions/README.md').matchAll(/\((\d{4}-[^)]+\.md)\)/g)].map(([, file]) => file);
  t.deepEqual(listed, globSync('*.md', { cwd: join(ROOT, 'docs/decisions'), exclude: ['README.md'] }).toSorted());
});

const GUIDES = ['README.md', 'CONTRIBUTING.md', 'docs/brokers.md', ...globSync('examples/*/README.md', { cwd: ROOT })];

/** The blocks of code in a language, of the documents that a user goes by. */
const blocks = (language: string, documents = GUIDES): string[] =>
  documents.flatMap((document) =>
    [...read(document).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
      ([, text = '']) => text,
    ),
  );

test('resources that documents and samples show are well, and their settings are some', async (t) => {
  const samples = globSync('{components,examples/components}/*.yaml', { cwd: ROOT }).map(read);
  const shown = blocks('yaml').filter((text) => text.startsWith('apiVersion: '));
  t.true(shown.length >= 7);
  for (const text of [...shown, ...samples]) {
    const directory = await temporaryDirectory(t);
    writeFileSync(join(directory, 'shown.yaml'), text);
    const log = memoryLog();
    const { components, skipped } = await loadResources([directory], { appId: 'app1', namespace: '', log });
    t.deepEqual([skipped, log.lines], [[], []]);
    for (const { type, metadata } of components) {
      const settings = Object.fromEntries(metadata.map(({ name, value = '' }) => [name, value]));
      t.notThrows(() => FACTORIES.find((factory) => factory.type === type)?.check(settings), text);
    }
  }
});

test('the commands that documents show are some', (t) => {
  const lines = blocks('sh').flatMap((text) => text.match(/^dapr .*$/gm) ?? []);
  t.true(lines.length >= 10);
  for (const line of lines) {
    const words = [...line.matchAll(/'[^']*'|[^\s']+/g)].map(([word]) => word.replaceAll("'", ''));
    t.notThrows(() => parse(words.slice(1)), line);
  }
});

test('the SQL that brokers.md shows fits the database', async (t) => {
  const database = openDatabase(join(await temporaryDirectory(t), 'pubsub.db'), 1000);
  t.teardown(() => database.close());
  const queries = blocks('sh', ['docs/brokers.md']).flatMap((text) =>
    [...text.matchAll(/^sqlite3 .*pubsub\.db "\n([^"]*)"/gm)].map(([, sql = '']) => sql),
  );
  t.is(queries.length, 1);
  for (const sql of queries) t.notThrows(() => database.exec(sql), sql);
});

test('every link between documents leads to a file', (t) => {
  const documents = globSync(['*.md', 'docs/**/*.md', 'examples/**/README.md'], {
    cwd: ROOT,
    exclude: ['**/node_modules/**'],
  });
  const broken = documents.flatMap((document) =>
    [...read(document).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)]
      .filter(([, target = '']) => !existsSync(join(ROOT, dirname(document), target)))
      .map(([, target]) => `${document}: ${target}`),
  );
  t.deepEqual(broken, []);
});
