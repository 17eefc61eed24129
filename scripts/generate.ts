/**
 * npm run generate: the TypeScript of gen/ and the descriptors that reflection serves, from the protos of proto/. With
 * --check it changes nothing and fails when gen/ is not what the protos give.
 */

import { cpSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { aptInstall, must, root, run } from './run.ts';

const OPTIONS = [
  'esModuleInterop=true',
  'outputServices=grpc-js',
  'importSuffix=.ts',
  'enumsAsLiterals=true',
  'outputJsonMethods=false',
  'outputPartialMethods=false',
  'useOptionals=none',
  'removeEnumPrefix=true',
  'outputIndex=false',
  'oneof=unions-value',
  'forceLong=number',
];

async function generate(folder: string): Promise<void> {
  const probe = ['--proto_path=proto', '--descriptor_set_out=/dev/null', 'google/protobuf/any.proto'];
  if ((await run('protoc', probe)).code !== 0) {
    console.log('Installing protobuf-compiler, because there is no protoc, or none with the messages of Google ...');
    await aptInstall('protobuf-compiler', 'libprotobuf-dev');
  }
  await must('protoc', [
    '--proto_path=proto',
    `--plugin=${join(root, 'node_modules/.bin/protoc-gen-ts_proto')}`,
    `--ts_proto_out=${folder}`,
    `--ts_proto_opt=${OPTIONS.join(',')}`,
    `--descriptor_set_out=${join(folder, 'descriptors.binpb')}`,
    '--include_imports',
    ...globSync('**/*.proto', { cwd: join(root, 'proto') }).toSorted(),
  ]);
}

/** File name to text, without the line that names the version of protoc: it says nothing about the code. */
function read(folder: string): Map<string, string> {
  const files = globSync('**/*.{ts,binpb}', { cwd: folder }).toSorted();
  return new Map(
    files.map((file) => [file, readFileSync(join(folder, file), 'latin1').replace(/^\/\/ +protoc +v.*$/m, '')]),
  );
}

/** Names the files of gen/ that differ from those of `fresh`. */
function differences(fresh: string): string[] {
  const now = read(join(root, 'gen'));
  const wanted = read(fresh);
  const changed = [...wanted].filter(([file, text]) => now.get(file) !== text);
  const stale = [...now].filter(([file]) => !wanted.has(file));
  return [...changed, ...stale].map(([file]) => file);
}

const fresh = mkdtempSync(join(tmpdir(), 'generate-'));
try {
  await generate(fresh);
  const files = differences(fresh);
  if (process.argv.includes('--check')) {
    for (const file of files) console.log(`gen/${file} is not what the protos give`);
    process.exitCode = files.length > 0 ? 1 : 0;
  } else if (files.length > 0) {
    rmSync(join(root, 'gen'), { recursive: true, force: true });
    cpSync(fresh, join(root, 'gen'), { recursive: true });
    console.log(`changed: ${files.join(', ')}`);
  }
} finally {
  rmSync(fresh, { recursive: true });
}
