/**
 * What the tests need besides npm packages: how to tell whether it is there and how to get it. Everything that is
 * not a system package goes to .cache/. Tests that need one ask `needs.x.present()` and skip themselves without it.
 */

import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { aptInstall, must, root, run } from './run.ts';

export interface Need {
  readonly name: string;
  present(): boolean;
  /** Rejects with the reason when it cannot be had. */
  install(): Promise<void>;
}

const cache = join(root, '.cache');

/** The Python that has what examples/flask imports. */
export const flaskPython = join(cache, 'flask', 'bin', 'python3');
/** Where examples/express finds its packages: to be given as NODE_PATH. */
export const expressModules = join(cache, 'express', 'node_modules');

/** The jars of Apache Kafka and what it depends on. */
export const kafkaJars = join(cache, 'kafka', 'jars');

const onPath = (command: string): boolean =>
  (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, command)));

/**
 * A folder of .cache/ filled from a manifest of the checkout. The manifest's copy, made when all went well, tells
 * a complete and current folder from a half-made or outdated one.
 */
function cached(name: string, manifest: string, fill: (folder: string) => Promise<void>): Need {
  const folder = join(cache, name);
  const source = join(root, manifest);
  const stamp = join(folder, 'installed');
  return {
    name: `the packages of ${manifest}`,
    present: () => existsSync(stamp) && readFileSync(stamp).equals(readFileSync(source)),
    async install() {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      await fill(folder);
      copyFileSync(source, stamp);
    },
  };
}

export const needs = {
  redis: {
    name: 'redis-server',
    present: () => onPath('redis-server'),
    install: () => aptInstall('redis-server'),
  },
  flask: cached('flask', 'examples/flask/requirements.txt', async (folder) => {
    const venv = ['-m', 'venv', '--clear', folder];
    if ((await run('python3', venv)).code !== 0) {
      await aptInstall('python3', 'python3-venv');
      await must('/usr/bin/python3', venv);
    }
    const pip = join(folder, 'bin', 'pip');
    await must(pip, ['install', '--quiet', '--requirement', 'examples/flask/requirements.txt']);
  }),
  express: cached('express', 'examples/express/package.json', async (folder) => {
    copyFileSync(join(root, 'examples/express/package.json'), join(folder, 'package.json'));
    await must('npm', ['install', '--prefix', folder, '--no-package-lock']);
  }),
  java: {
    name: 'Java',
    present: () => onPath('java') && onPath('mvn'),
    install: () => aptInstall('default-jre-headless', 'maven'),
  },
  kafka: cached('kafka', 'test/kafka/pom.xml', async () => {
    const place = [`-DoutputDirectory=${kafkaJars}`, '-DincludeScope=runtime'];
    await must('mvn', [
      '--quiet',
      '--batch-mode',
      '--file',
      'test/kafka/pom.xml',
      'dependency:copy-dependencies',
      ...place,
    ]);
  }),
} satisfies Record<string, Need>;

/** Installs what is missing and says so. Resolves with one sentence for each need that could not be met. */
export async function meetNeeds(say: (line: string) => void): Promise<string[]> {
  const unmet: string[] = [];
  for (const need of Object.values<Need>(needs)) {
    if (need.present()) continue;
    say(`Installing ${need.name} for the tests ...`);
    try {
      await need.install();
      if (!need.present()) throw new Error('installed, but not found afterwards');
    } catch (error) {
      unmet.push(`${need.name} could not be installed: ${(error as Error).message}`);
    }
  }
  return unmet;
}
