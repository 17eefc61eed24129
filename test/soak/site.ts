/** What a row stands on: servers, sidecars, an app, a load, and the auditor who watches them. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { componentFile } from '../_support/daprd.ts';
import { freePort } from '../_support/ports.ts';
import { Proxy } from '../_support/proxy.ts';
import { DURABLE, RedisServer, startSentinels, type AtEnd, type SentinelGroup } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { App } from './app.ts';
import { Ledger } from './ledger.ts';
import { Load } from './load.ts';
import { Sidecar } from './sidecar.ts';

/** What a row wants to stand on. */
export interface Setting {
  /** Of the component, beside where Redis is. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Of the component. */
  readonly initTimeout?: string;
  /** How many sidecars share the app and the group. Default: 1. */
  readonly sidecars?: number;
  /** Redis is reached through a network that can be bad, or is a master that Sentinels watch. Default: neither. */
  readonly reach?: 'proxy' | 'sentinels';
  /** The topics of the app have a dead-letter topic. */
  readonly deadLetters?: boolean;
  /** Further resource files, by name. */
  readonly resources?: Readonly<Record<string, string>>;
  readonly args?: readonly string[];
}

/** What else a run depends on. */
export interface Chance {
  /** From 0 to 1, the same in every run with the same seed. */
  readonly random: () => number;
  /** What limits of time are multiplied by, for a machine that does other things too. */
  readonly patience: number;
}

interface Equipment {
  readonly server: RedisServer;
  readonly proxy: Proxy | undefined;
  readonly group: SentinelGroup | undefined;
  readonly app: App;
  readonly sidecars: readonly Sidecar[];
}

const APP_ID = 'soak';
const READ_MS = 50;

export class Site {
  readonly ledger: Ledger;
  /** The one that takes commands; a failover changes it. */
  server: RedisServer;
  readonly app: App;
  readonly sidecars: readonly Sidecar[];
  readonly load: Load;
  readonly random: () => number;
  /** Worst of what was measured, by name. */
  readonly figures = new Map<string, number>();
  /** What limits of time are multiplied by. */
  private readonly patience: number;
  private readonly equipment: Equipment;
  private readonly reading: NodeJS.Timeout;

  private constructor(equipment: Equipment, ledger: Ledger, { random, patience }: Chance) {
    this.patience = patience;
    this.equipment = equipment;
    this.ledger = ledger;
    this.server = equipment.server;
    this.app = equipment.app;
    this.sidecars = equipment.sidecars;
    this.random = random;
    this.load = new Load(ledger, equipment.sidecars);
    this.reading = setInterval(() => this.app.read(), READ_MS);
  }

  /** Starts everything but the sidecars. What was started ends with `atEnd`. */
  static async open(setting: Setting, chance: Chance, atEnd: AtEnd): Promise<Site> {
    const directory = mkdtempSync(join(tmpdir(), 'soak-'));
    atEnd(async () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
    const group = setting.reach === 'sentinels' ? await startSentinels(atEnd) : undefined;
    const server = group?.master ?? (await RedisServer.start(atEnd, DURABLE));
    const proxy = setting.reach === 'proxy' ? await Proxy.start(atEnd, server.port) : undefined;
    const where = group
      ? { redisHost: group.sentinels, failover: 'true', sentinelMasterName: group.name }
      : { redisHost: proxy?.address ?? server.address };
    writeResources(directory, {
      'pubsub.yaml': componentFile('pubsub.redis', { ...where, ...setting.settings }, setting.initTimeout),
      ...setting.resources,
    });
    const ledger = new Ledger();
    const app = new App(await freePort(), directory, subscriptions(setting.deadLetters ?? false), ledger);
    await app.start();
    const plan = { appId: APP_ID, appPort: app.port, directory, args: setting.args ?? [] };
    const count = setting.sidecars ?? 1;
    const sidecars = await Promise.all(Array.from({ length: count }, () => Sidecar.plan(plan)));
    const site = new Site({ server, proxy, group, app, sidecars }, ledger, chance);
    atEnd(() => site.close());
    return site;
  }

  get sidecar(): Sidecar {
    return this.sidecars[0] as Sidecar;
  }

  get proxy(): Proxy {
    if (!this.equipment.proxy) throw new Error('the row has no proxy');
    return this.equipment.proxy;
  }

  get group(): SentinelGroup {
    if (!this.equipment.group) throw new Error('the row has no Sentinels');
    return this.equipment.group;
  }

  /** Starts all sidecars and notes how long the slowest took until it was ready. */
  async startSidecars(): Promise<void> {
    const took = await Promise.all(this.sidecars.map((sidecar) => sidecar.start()));
    this.note('ready after ms', Math.max(...took));
  }

  /** Keeps the worst of each name. */
  note(name: string, value: number): void {
    this.figures.set(name, Math.max(this.figures.get(name) ?? -Infinity, Math.round(value)));
  }

  /** Notes how long something took and fails when that was too long. */
  within(name: string, ms: number, most: number): void {
    this.limit(name, ms, most * this.patience);
  }

  /** Notes it and fails when it is above the limit. */
  limit(name: string, value: number, most: number): void {
    this.note(name, value);
    this.expect(value <= most, `${name}: ${Math.round(value)}, ${most} at most`);
  }

  expect(condition: boolean, what: string): void {
    if (!condition) throw new Error(what);
  }

  /** From `from` to `to`, by chance. */
  between(from: number, to: number): number {
    return Math.floor(from + this.random() * (to - from + 1));
  }

  pause(ms: number): Promise<void> {
    return wait(ms);
  }

  /** Resolves when something that is published from now on was acknowledged and handled; notes how long that took. */
  async flows(name: string, mostMs: number): Promise<void> {
    const from = this.ledger.tried;
    const began = performance.now();
    const does = (): boolean => this.ledger.newestAcknowledged >= from && this.ledger.newestHandled >= from;
    await until(does, `${name}: new events are acknowledged and handled`, mostMs * this.patience * 2);
    this.within(name, performance.now() - began, mostMs);
  }

  /** Resolves when the group has nothing left on the topic and every acknowledged event is accounted for. */
  async drains(ms = 120_000, topic = 'storm'): Promise<void> {
    try {
      await until(async () => (await this.isSettled(topic)) && this.ledger.open().length === 0, 'it drains', ms);
    } catch {
      const open = this.ledger.open();
      const groups = JSON.stringify(await this.server.ask('xinfo', 'GROUPS', topic));
      throw new Error(`${open.length} acknowledged events were not handled: ${open.slice(0, 10).join(' ')}; ${groups}`);
    }
  }

  /** Whether the group has had everything and settled it. */
  async isSettled(topic = 'storm'): Promise<boolean> {
    try {
      const stream = fieldsOf(await this.server.ask('xinfo', 'STREAM', topic));
      const groups = ((await this.server.ask('xinfo', 'GROUPS', topic)) as unknown[]).map(fieldsOf);
      const group = groups.find(({ name }) => name === APP_ID);
      return group?.['pending'] === 0 && group['last-delivered-id'] === stream['last-generated-id'];
    } catch {
      return false; // the server is away, or has no such topic yet
    }
  }

  /** Resolves when everything that was acknowledged so far is handled; notes how long that took. */
  async catchesUp(name: string, mostMs: number): Promise<void> {
    const end = this.ledger.tried;
    const began = performance.now();
    await until(
      () => this.ledger.open(end).length === 0,
      `${name}: what was acknowledged is handled`,
      mostMs * this.patience * 2,
    );
    this.within(name, performance.now() - began, mostMs);
  }

  private async close(): Promise<void> {
    clearInterval(this.reading);
    this.load.close();
    await Promise.all([...this.sidecars.map((sidecar) => sidecar.kill()), this.app.kill()]);
  }
}

/** `[name, value, name, value]` as an object. */
function fieldsOf(flat: unknown): Record<string, unknown> {
  const all = flat as unknown[];
  return Object.fromEntries(all.flatMap((name, i) => (i % 2 === 0 ? [[String(name), all[i + 1]]] : [])));
}

function writeResources(directory: string, files: Readonly<Record<string, string>>): void {
  mkdirSync(join(directory, 'resources'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, 'resources', name), text);
}

function subscriptions(deadLetters: boolean): object[] {
  const more = deadLetters ? { deadLetterTopic: 'dead' } : {};
  const topics = ['storm', 'slow'].map((topic) => ({ pubsubname: 'pubsub', topic, route: `/${topic}`, ...more }));
  return [...topics, { pubsubname: 'pubsub', topic: 'dead', route: '/dead' }];
}
