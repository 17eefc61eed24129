import { readdir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { readText } from './yaml.ts';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'is not a directory',
  EACCES: 'may not be read',
};

/**
 * Paths of the files of one resources directory, by name; sub-directories are left out. Rejects with an Error that
 * says what is wrong with the directory.
 */
export async function listResourceFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause: NodeJS.ErrnoException) => {
    const reason = REASONS[cause.code ?? ''] ?? `cannot be read: ${cause.message}`;
    throw new Error(`resources path '${directory}' ${reason}`, { cause });
  });
  const names = entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name);
  return names.sort().map((name) => path.join(directory, name));
}

/**
 * The text of a resource file. Links are followed within its directory only: mounted configuration consists of such
 * links, and one that leads elsewhere could show any file of the machine.
 */
export async function readResourceFile(file: string): Promise<string> {
  const directory = await realpath(path.dirname(file));
  const target = await realpath(file);
  if (!target.startsWith(path.join(directory, path.sep))) throw new Error('a link that leads out of the directory');
  return readText(target);
}
