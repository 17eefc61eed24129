import { existsSync, rmSync } from 'node:fs';
import { instances } from '../lib/registry.ts';
import type { Call } from './commands.ts';
import { confirmed } from './confirm.ts';
import { Exit, Failure } from './failure.ts';
import { stopRedis } from './local-redis.ts';

/** Ends what `init` started. With `--all` the whole home directory goes, the events in it too. */
export async function uninstall({ options, home }: Call): Promise<number> {
  const running = instances(home).map(({ appId }) => appId);
  if (running.length > 0) {
    throw new Failure(`still running: ${running.join(', ')}`, {
      exit: Exit.failed,
      code: 'STILL_RUNNING',
      next: ['dapr stop --all'],
    });
  }
  if (!existsSync(home)) {
    process.stdout.write(`${home} does not exist: there is nothing to undo\n`);
    return Exit.done;
  }
  const all = options.on('all') ?? false;
  if (all && !(options.on('yes') ?? false) && !(await confirmed(`Delete ${home} and every event kept in it?`))) {
    process.stdout.write('nothing was done\n');
    return Exit.done;
  }
  if (await stopRedis(home)) process.stdout.write('stopped the redis-server that `dapr init` started\n');
  if (!all) process.stdout.write(`components, configuration and events stay in ${home}; --all deletes them\n`);
  else {
    rmSync(home, { recursive: true, force: true });
    process.stdout.write(`deleted ${home}\n`);
  }
  return Exit.done;
}
