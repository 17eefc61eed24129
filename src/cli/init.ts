import { copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Call } from './commands.ts';
import { Exit, Failure } from './failure.ts';
import { askRedis, redisFolder, startRedis } from './local-redis.ts';
import { say } from './output.ts';

type Broker = 'redis' | 'sqlite' | 'memory';

const LOCAL_REDIS = 'localhost:6379';

/** Prepares the Dapr home directory. Downloads nothing, needs no container; what is there is left alone. */
export async function init({ options, home }: Call): Promise<number> {
  const redisHost = options.text('redis-host');
  const address = withPort(redisHost ?? LOCAL_REDIS);
  const looks = !options.on('slim');
  const force = options.on('force') ?? false;
  for (const name of ['components', 'run', 'logs']) step(makeDirectory(join(home, name)), join(home, name));
  const asked = (options.text('broker') ?? (redisHost && 'redis')) as Broker | undefined;
  const broker = asked ?? (looks && (await askRedis(address)) ? 'redis' : 'sqlite');
  const file = join(home, 'components', 'pubsub.yaml');
  step(write(file, componentFile(broker, address), force), file);
  const config = join(home, 'config.yaml');
  step(write(config, CONFIG, force), config);
  await brokerStep(file, { home, looks, mayStart: asked === 'redis' || existsSync(redisFolder(home)) });
  process.stdout.write(NEXT);
  return Exit.done;
}

interface Wish {
  readonly home: string;
  /** False: touch nothing but files. */
  readonly looks: boolean;
  /** Whether the installed Redis may be started: it was asked for now, or by an `init` before. */
  readonly mayStart: boolean;
}

/** What the component needs to run, which may be another than was asked for: a file that is there stays. */
async function brokerStep(file: string, { looks, ...wish }: Wish): Promise<void> {
  const content = readFileSync(file, 'utf8');
  const type = /^\s*type:\s*pubsub\.(\S+)/m.exec(content)?.[1];
  const address = /redisHost\s+value:\s*(\S+)/.exec(content)?.[1];
  if (type === 'redis' && looks) await redisStep(address ?? LOCAL_REDIS, wish);
  if (type === 'sqlite') say(SQLITE_NOTE);
  if (type === 'in-memory') say(MEMORY_NOTE);
}

const MEMORY_NOTE = '               events are kept in memory only: they end with the sidecar that holds them';
const SQLITE_NOTE = [
  '               events are kept in a file that all sidecars of this machine share; nothing else needs to run.',
  '               For Redis: dapr init --broker redis --force',
].join('\n');

const NEXT = `
Try next:
  dapr run --app-id myapp --dapr-http-port 3500
  dapr publish --pubsub pubsub --topic deathStarStatus --data '{"status": "completed"}'
`;

/** Looks for Redis where the component says, and starts the installed one when nothing answers on this machine. */
async function redisStep(address: string, { home, mayStart }: Omit<Wish, 'looks'>): Promise<void> {
  const answer = await askRedis(address);
  if (answer) {
    const major = Number.parseInt(answer.version, 10);
    const old = major < 5 ? `, which is too old: streams came with 5` : '';
    return step('already there', `Redis ${answer.version || '(wants a password)'} at ${address}${old}`);
  }
  const isLocal = /^(localhost|127\.0\.0\.1):/.test(address);
  if (isLocal && mayStart && (await startRedis(home, address))) {
    return step('done', `started redis-server at ${address}; \`dapr uninstall\` ends it`);
  }
  step(
    'skipped',
    `Redis does not answer at ${address}${isLocal && mayStart ? ', and redis-server could not be started' : ''}`,
  );
  say('               start it, or use the built-in broker: dapr init --broker sqlite --force');
}

type Outcome = 'done' | 'already there' | 'skipped';

function step(outcome: Outcome, what: string): void {
  say(`${outcome.padEnd(13)}  ${what}`);
}

function makeDirectory(path: string): Outcome {
  if (isThere(path, 'directory')) return 'already there';
  attempt(path, () => mkdirSync(path, { recursive: true, mode: 0o700 }));
  return 'done';
}

/** Writes a file that is not there; with `force` also one that is, after keeping a copy of it. */
function write(path: string, content: string, force: boolean): Outcome {
  const exists = isThere(path, 'file');
  if (exists && (!force || readFileSync(path, 'utf8') === content)) return 'already there';
  attempt(path, () => {
    if (exists) copyFileSync(path, `${path}.${Date.now()}.bak`);
    writeFileSync(path, content, { mode: 0o600 });
  });
  return 'done';
}

/** Throws when something else has the name. */
function isThere(path: string, kind: 'directory' | 'file'): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return false;
  if (kind === 'directory' ? found.isDirectory() : found.isFile()) return true;
  throw new Failure(`${path} is no ${kind}`, {
    exit: Exit.failed,
    code: 'NOT_PREPARED',
    next: ['move it out of the way', 'or, in another directory: dapr init --runtime-path <dir>'],
  });
}

function attempt(path: string, make: () => void): void {
  try {
    make();
  } catch (error) {
    throw new Failure(`cannot make ${path}`, {
      exit: Exit.failed,
      code: 'NOT_PREPARED',
      why: (error as Error).message,
      next: ['in another directory: dapr init --runtime-path <dir>, or with DAPR_RUNTIME_PATH'],
      cause: error,
    });
  }
}

const withPort = (host: string): string => (/:\d+$/.test(host) ? host : `${host}:6379`);

function componentFile(broker: Broker, address: string): string {
  const head = ['apiVersion: dapr.io/v1alpha1', 'kind: Component', 'metadata:', '  name: pubsub', 'spec:'];
  const spec = {
    redis: [
      '  type: pubsub.redis',
      '  metadata:',
      '  - name: redisHost',
      `    value: ${address}`,
      '  - name: redisPassword',
      '    value: ""',
    ],
    sqlite: ['  type: pubsub.sqlite', '  version: v1'],
    memory: ['  type: pubsub.in-memory', '  version: v1'],
  };
  return [...head, ...spec[broker], ''].join('\n');
}

const CONFIG = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: daprConfig
spec: {}
`;
