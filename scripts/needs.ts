/**
 * What the tests need besides npm packages: how to tell whether it is there and how to get it. Everything that is
 * not a system package goes to .cache/. Tests that need one ask `needs.x.present()` and skip themselves without it.
 */

import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

/** What the programs of test/compat run on: NODE_PATH, an interpreter, a program, a class path. */
export const sdkModules = join(cache, 'javascript', 'node_modules');
export const sdkPython = join(cache, 'python', 'bin', 'python3');
export const goProgram = join(cache, 'go', 'program');
export const saramaProgram = join(cache, 'sarama', 'program');
export const javaClassPath = join(cache, 'java', '*');
/** The jars of Apache Kafka and what it depends on. */
export const kafkaJars = join(cache, 'kafka', 'jars');

const onPath = (command: string): boolean =>
  (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, command)));

/**
 * A folder of .cache/ filled from files of the checkout. Their text, written when all went well, tells a complete and
 * current folder from a half-made or outdated one.
 */
function cached(name: string, sources: readonly string[], fill: (folder: string) => Promise<void>): Need {
  const folder = join(cache, name);
  const stamp = join(folder, 'installed');
  const text = (): string => sources.map((source) => readFileSync(join(root, source), 'utf8')).join('');
  return {
    name: `the packages of ${sources[0]}`,
    present: () => existsSync(stamp) && readFileSync(stamp, 'utf8') === text(),
    async install() {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      await fill(folder);
      writeFileSync(stamp, text());
    },
  };
}

/** A virtual environment with what a file of requirements names. */
function python(name: string, requirements: string): Need {
  return cached(name, [requirements], async (folder) => {
    const venv = ['-m', 'venv', '--clear', folder];
    if ((await run('python3', venv)).code !== 0) {
      await aptInstall('python3', 'python3-venv');
      await must('/usr/bin/python3', venv);
    }
    await must(join(folder, 'bin', 'pip'), ['install', '--quiet', '--requirement', requirements]);
  });
}

/** node_modules with what a package.json names. */
function npm(name: string, manifest: string): Need {
  return cached(name, [manifest], async (folder) => {
    copyFileSync(join(root, manifest), join(folder, 'package.json'));
    await must('npm', ['install', '--prefix', folder, '--no-package-lock', '--no-audit', '--no-fund']);
  });
}

/** A program of Go: the module of a folder, which has these files. */
function go(name: string, folder: string, ...files: string[]): Need {
  const sources = ['go.mod', 'go.sum', ...files].map((file) => `${folder}/${file}`);
  return cached(name, sources, async (target) => {
    await must('go', ['build', '-C', join(root, folder), '-o', join(target, 'program'), '.']);
  });
}

export const needs = {
  redis: {
    name: 'redis-server',
    present: () => onPath('redis-server'),
    install: () => aptInstall('redis-server'),
  },
  iptables: {
    name: 'ip and iptables',
    present: () => onPath('ip') && onPath('iptables'),
    install: () => aptInstall('iproute2', 'iptables'),
  },
  flask: python('flask', 'examples/flask/requirements.txt'),
  express: npm('express', 'examples/express/package.json'),
  javascript: npm('javascript', 'test/compat/javascript/package.json'),
  python: python('python', 'test/compat/python/requirements.txt'),
  go: go('go', 'test/compat/go', 'main.go', 'reflect.go'),
  sarama: go('sarama', 'test/kafka/sarama', 'main.go'),
  java: {
    name: 'Java',
    present: () => onPath('java') && onPath('mvn'),
    install: () => aptInstall('default-jdk-headless', 'maven'),
  },
  javaSdk: cached('java', ['test/compat/java/pom.xml'], async (folder) => {
    const goals = ['dependency:copy-dependencies', `-DoutputDirectory=${folder}`, '-DincludeScope=runtime'];
    await must('mvn', ['--batch-mode', '--quiet', '--file', 'test/compat/java/pom.xml', ...goals]);
  }),
  kafka: cached('kafka', ['test/kafka/pom.xml'], async () => {
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
