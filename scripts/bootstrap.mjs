// Runs one of this project's scripts with the Node it is written for, on a machine that may have an older one only:
//
//   node scripts/bootstrap.mjs scripts/start.ts [argument ...]
//
// Installs the npm packages (Node among them) where they are missing or older than package-lock.json. Plain
// JavaScript without dependencies, because Node 18 has to understand it.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, statSync, utimesSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import './orphans.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const lock = join(root, 'package-lock.json');
/** npm writes it at the end of every install, so its time is the time of the last one. */
const installed = join(root, 'node_modules', '.package-lock.json');
const windows = process.platform === 'win32';

function npm(...command) {
  console.error(`npm ${command.join(' ')} ...`);
  const stdio = ['ignore', 'inherit', 'inherit'];
  // NODE_ENV=production would leave out Node and the test runner.
  const { status } = spawnSync('npm', [...command, '--include=dev'], {
    cwd: root,
    stdio,
    shell: windows,
  });
  return status === 0;
}

/** `npm ci` empties node_modules, so it is for the fresh clone only: somebody may be using an existing one. */
function install() {
  const isFresh = !existsSync(installed);
  console.error(`The npm packages are ${isFresh ? 'not installed yet' : 'older than package-lock.json'}:`);
  if (!npm(isFresh ? 'ci' : 'install')) {
    console.error('The npm packages could not be installed; what npm says is above.');
    process.exit(1);
  }
  utimesSync(installed, new Date(), new Date());
}

/** The Node of node_modules; this one where npm had none for the platform and this one is new enough. */
function findNode() {
  const pinned = join(root, 'node_modules', 'node', 'bin', windows ? 'node.exe' : 'node');
  if (existsSync(pinned)) return pinned;
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 24 || (major === 24 && minor >= 12)) return process.execPath;
  console.error(`This needs Node 24.12 or newer; here is ${process.version}, and ${pinned} is missing.`);
  process.exit(1);
}

if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs) install();
const path = join(root, 'node_modules', '.bin') + delimiter + process.env.PATH;
const child = spawn(findNode(), process.argv.slice(2), { stdio: 'inherit', env: { ...process.env, PATH: path } });
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
