/** A Redis that ends, hangs, is replaced, is full, or is not there. */

import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import type { RedisServer } from '../../_support/redis.ts';
import { until } from '../../_support/until.ts';
import type { Row } from '../row.ts';
import type { Site } from '../site.ts';

/** How soon everything goes on once the server is well. */
const RESUMED_MS = 3000;
const READ_TIMEOUT_MS = 1000;

/** Publishes until it is answered so. Resolves with how long the last answer took. */
async function answers(site: Site, expected: number, what: string): Promise<number> {
  return until(async () => {
    const began = performance.now();
    const { status } = await site.load.publish();
    return status === expected && Math.max(1, performance.now() - began);
  }, what);
}

async function replicationOf(server: RedisServer): Promise<Record<string, string>> {
  const text = String(await server.ask('info', 'replication').catch(() => ''));
  return Object.fromEntries(text.split('\r\n').map((line) => line.split(':') as [string, string]));
}

async function follows(replica: RedisServer): Promise<boolean> {
  const { role, master_link_status: link } = await replicationOf(replica);
  return role === 'slave' && link === 'up';
}

async function isReplicated(from: RedisServer, to: RedisServer): Promise<boolean> {
  const [master, replica] = [await replicationOf(from), await replicationOf(to)];
  return (await follows(to)) && master['master_repl_offset'] === replica['slave_repl_offset'];
}

/** The one that commands go to, and the other one. */
function roles({ group: { master, replica }, server }: Site): readonly [RedisServer, RedisServer] {
  return server === master ? [master, replica] : [replica, master];
}

export const SERVERS: Readonly<Record<number, Row>> = {
  12: {
    about: 'Redis, which keeps an append-only file, is killed and started again',
    setting: {},
    perSecond: 500,
    shortRounds: 2,
    async round(site, _nth, isShort) {
      await site.pause(site.between(300, 1000));
      await site.server.kill();
      await site.pause(isShort ? 1000 : site.between(100, 20_000));
      await site.server.start();
      await site.flows('goes on after ms', RESUMED_MS);
    },
  },

  13: {
    about: 'Redis hangs and goes on: half-open connections',
    setting: { settings: { readTimeout: `${READ_TIMEOUT_MS}ms` } },
    perSecond: 200,
    async round(site, _nth, isShort) {
      await site.pause(500);
      site.server.signal('SIGSTOP');
      const took = await answers(site, 500, 'a publish is refused').catch((error: unknown) => {
        site.server.signal('SIGCONT');
        throw error;
      });
      site.within('a publish is refused after ms', took, READ_TIMEOUT_MS + 1500);
      await site.pause(isShort ? 3000 : 30_000);
      site.server.signal('SIGCONT');
      await site.flows('goes on after ms', RESUMED_MS);
    },
  },

  15: {
    about: 'the master that Sentinels watch is killed, and comes back as a replica',
    setting: { reach: 'sentinels' },
    perSecond: 200,
    async round(site) {
      const [old, next] = roles(site);
      await site.pause(site.between(300, 1000));
      await site.load.stop();
      await site.drains();
      await until(() => isReplicated(old, next), 'the replica has everything');
      await old.kill();
      site.server = next;
      site.load.start(200);
      await site.flows('goes on after ms', 12_000);
      await old.start();
      await until(() => isReplicated(next, old), 'the old master follows the new one', 60_000);
    },
  },

  14: {
    about: 'the master that Sentinels watch is killed under load while its replica is behind, with wait 1',
    setting: { reach: 'sentinels', settings: { wait: '1', readTimeout: '1s' } },
    perSecond: 500,
    async round(site) {
      const [old, next] = roles(site);
      await site.app.become({ delayMs: 500 }); // most of what is lost now has not been handled yet
      await site.pause(site.between(500, 1000));
      next.signal('SIGSTOP');
      await old.ask('client', 'KILL', 'TYPE', 'replica'); // what was sent and not read would reach it all the same
      await site.pause(site.between(100, 300));
      await old.kill();
      next.signal('SIGCONT');
      site.server = next;
      await site.app.become({});
      await until(async () => (await replicationOf(next))['role'] === 'master', 'the replica is promoted', 60_000);
      await answers(site, 500, 'a publish that no replica has is refused');
      await old.start(); // empty: what was acknowledged is where it was waited for, or nowhere
      await until(() => follows(old), 'the old master follows the new one', 60_000);
      await site.flows('goes on after ms', 5000);
      await site.load.stop();
      await site.drains();
    },
  },

  16: {
    about: 'Redis is full, then cannot save: publishes fail and say so, nothing else is lost',
    setting: {},
    perSecond: 200,
    async round(site) {
      const { ledger, server } = site;
      await site.pause(500);
      await server.ask('config', 'SET', 'maxmemory', 1);
      await answers(site, 500, 'a publish is refused for want of memory');
      await site.catchesUp('the others are delivered after ms', 3000);
      await server.ask('config', 'SET', 'maxmemory', 0);
      await site.flows('goes on after ms', RESUMED_MS);

      const inTheWay = join(server.directory, 'dump.rdb');
      mkdirSync(inTheWay); // a file of this name is what it would save to
      await server.ask('config', 'SET', 'save', '3600 1');
      await server.ask('bgsave');
      await answers(site, 500, 'a publish is refused because Redis cannot save');
      const refused = ledger.newestAcknowledged;
      rmdirSync(inTheWay);
      await until(async () => {
        await server.ask('bgsave').catch(() => undefined);
        return /rdb_last_bgsave_status:ok/.test(String(await server.ask('info', 'persistence')));
      }, 'it can save again');
      await site.flows('goes on after ms', RESUMED_MS);
      site.expect(ledger.newestAcknowledged > refused, 'publishes are acknowledged again');
      await server.ask('config', 'SET', 'save', '');
    },
  },

  41: {
    about: 'the sidecar starts without Redis and without its app; then Redis wants a password',
    setting: { initTimeout: '120s' },
    startsItself: true,
    async round(site, _nth, isShort) {
      const { app, load, server, sidecar } = site;
      await sidecar.kill();
      await app.kill();
      await server.kill();
      sidecar.launch();
      await until(() => sidecar.log.says(/cannot be reached, trying again/), 'it says that it waits');
      await site.pause(isShort ? 2000 : 60_000);
      await server.start();
      await until(async () => (await load.publish()).status === 204, 'it publishes');
      await site.pause(isShort ? 500 : 10_000);
      await app.start();
      await sidecar.ready();
      await site.drains();

      await sidecar.kill();
      const client = server.client();
      await client.call('config', ['SET', 'requirepass', 'secret']);
      sidecar.launch();
      await until(() => sidecar.log.says(/error connecting to redis at .* NOAUTH/), 'it says that it was not let in');
      await until(() => !sidecar.isRunning, 'it ends');
      await client.call('config', ['SET', 'requirepass', '']);
      await sidecar.start();
      await site.drains();
    },
  },
};
