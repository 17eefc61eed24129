/** Reading YAML that somebody else wrote: bounded in every direction, and silent about what stands in it. */

import { readFile, stat } from 'node:fs/promises';
import { FAILSAFE_SCHEMA, loadAll, mergeTag, nullCoreTag, YAMLException, type LoadOptions } from 'js-yaml';

const MAX_BYTES = 2 ** 20;

/**
 * Scalars stay the text they were written as, so that `1.10`, `007` and a password of twenty digits arrive unchanged;
 * whoever reads a value knows which type it wants. Duplicate keys: the last one counts, as in Dapr.
 */
const OPTIONS: LoadOptions = {
  schema: FAILSAFE_SCHEMA.withTags(nullCoreTag, mergeTag),
  json: true,
  maxAliases: 20,
  maxDepth: 64,
  maxTotalMergeKeys: 1000,
};

/** The text of a regular file of at most 1 MiB of UTF-8; a byte order mark is left out. Rejects with why it is none. */
export async function readText(file: string): Promise<string> {
  const info = await stat(file);
  if (!info.isFile()) throw new Error('not a regular file');
  if (info.size > MAX_BYTES) throw new Error('larger than 1 MiB');
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file));
  } catch (error) {
    if (error instanceof TypeError) throw new Error('not UTF-8 text', { cause: error });
    throw error;
  }
}

/** One document of a file, or why it is unreadable. `number` counts from 1. */
export interface YamlDocument {
  readonly number: number;
  readonly content: unknown;
  readonly error?: Error;
}

/** The documents of a text that are not empty. Each is parsed by itself: one that is broken leaves the others alone. */
export function yamlDocuments(text: string): YamlDocument[] {
  const documents: YamlDocument[] = [];
  let line = 0;
  for (const part of text.split(/^(?=---(?:\s|$))/m)) {
    try {
      for (const content of loadAll(part, OPTIONS)) {
        if (content != null) documents.push({ number: documents.length + 1, content });
      }
    } catch (error) {
      documents.push({ number: documents.length + 1, content: undefined, error: faultOf(error, line) });
    }
    line += part.split('\n').length - 1;
  }
  return documents;
}

/** The parser's own message quotes the text around the fault, which may be a password: only reason and line are told. */
function faultOf(error: unknown, linesBefore: number): Error {
  if (!(error instanceof YAMLException)) return new Error('unreadable YAML');
  const reason = error.reason.split(/["<]|: /, 1)[0]?.trim();
  return new Error(`${reason} (line ${linesBefore + (error.mark?.line ?? 0) + 1})`);
}
