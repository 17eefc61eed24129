/** The Redis of this machine: is one there, and the one that `dapr init` started. */

import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { signal } from '../lib/process-table.ts';
import { sleep } from '../lib/sleep.ts';

export interface RedisAnswer {
  /** Empty when it wants a password first. */
  readonly version: string;
  readonly pid: number;
}

/** What answers at `host:port`; undefined when nothing does or it is no Redis. */
export async function askRedis(address: string, timeoutMs = 1000): Promise<RedisAnswer | undefined> {
  const answer = await talk(address, 'INFO server\r\n', timeoutMs);
  if (/^-(NOAUTH|NOPERM)/.test(answer)) return { version: '', pid: 0 };
  const version = /^redis_version:(\S+)/m.exec(answer)?.[1];
  return version === undefined ? undefined : { version, pid: Number(/^process_id:(\d+)/m.exec(answer)?.[1] ?? 0) };
}

/** Everything the server says until it has said a whole answer, or the time is up. */
function talk(address: string, request: string, timeoutMs: number): Promise<string> {
  const [, host = 'localhost', port = '6379'] = /^(.*?)(?::(\d+))?$/.exec(address) ?? [];
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({ host, port: Number(port) }, () => socket.write(request));
    socket.setTimeout(timeoutMs);
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      answer += chunk;
      const announced = Number(/^\$(\d+)\r\n/.exec(answer)?.[1] ?? -1);
      if (answer.length >= announced + String(announced).length + 3) socket.destroy();
    });
    socket.on('timeout', () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

/** Where the Redis that we start keeps its data. */
export const redisFolder = (home: string): string => join(home, 'redis');

/** Starts the installed `redis-server` in the background, keeping its data under `home`. False when none is installed. */
export async function startRedis(home: string, address: string): Promise<boolean> {
  const dir = redisFolder(home);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const port = /:(\d+)$/.exec(address)?.[1] ?? '6379';
  const options = { port, bind: '127.0.0.1', dir, pidfile: pidFile(home), logfile: join(dir, 'redis.log') };
  const flags = Object.entries({ ...options, appendonly: 'yes', save: '', daemonize: 'yes' });
  const child = spawn(
    'redis-server',
    flags.flatMap(([name, value]) => [`--${name}`, value]),
    { stdio: 'ignore' },
  );
  const started = await new Promise<boolean>((resolve) => {
    child.on('error', () => resolve(false));
    child.on('exit', (code) => resolve(code === 0));
  });
  const deadline = AbortSignal.timeout(5000);
  while (started && !deadline.aborted && !(await askRedis(address))) await sleep(50, deadline);
  return started && !deadline.aborted;
}

const pidFile = (home: string): string => join(redisFolder(home), 'redis.pid');

/** Ends the Redis that `startRedis` started, if it still runs. Resolves with whether it did. */
export async function stopRedis(home: string): Promise<boolean> {
  const pid = startedPid(home);
  if (pid === undefined) return false;
  const ended = signal(pid, 'SIGTERM');
  const deadline = AbortSignal.timeout(10_000);
  while (signal(pid, 0) && !deadline.aborted) await sleep(50, deadline);
  rmSync(pidFile(home), { force: true });
  return ended;
}

/** The pid in the file, unless a later process has it now. */
function startedPid(home: string): number | undefined {
  try {
    const pid = Number(readFileSync(pidFile(home), 'utf8'));
    const program = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return pid > 0 && program.includes('redis-server') ? pid : undefined;
  } catch {
    return undefined;
  }
}
