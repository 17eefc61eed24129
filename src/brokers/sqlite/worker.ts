/** The database thread: SQLite's calls block, so they are made here. Started by Link with DatabaseOptions as data. */

import { statSync, watch, type FSWatcher } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { messageOf } from '../../core/errors.ts';
import { Leases } from './leases.ts';
import type { Reply, Request } from './protocol.ts';
import { Pruning } from './pruning.ts';
import { openDatabase } from './schema.ts';
import type { DatabaseOptions } from './settings.ts';
import { Store } from './store.ts';
import { Turns } from './turns.ts';
import { WallClock } from './wall-clock.ts';
import { MAX_TIMER_MS } from '../../lib/deadline.ts';

/** How often to look after siblings, and for what a lost bell would have said. */
const TICK_MS = 2000;
/** The same without a bell, where the system has no more watches. */
const DEAF_TICK_MS = 50;
const TROUBLE_MS = 250;
const CHORES_MS = 5_000;
const PRUNE_STEP_MS = 10;

class DatabaseThread {
  private readonly port: MessagePort;
  private readonly path: string;
  private readonly database: DatabaseSync;
  private readonly files: string;
  private readonly leases: Leases;
  private readonly turns: Turns;
  private readonly pruning: Pruning;
  private bell: FSWatcher | undefined;
  /** The lease whose bell it is. */
  private bellOwner = 0;
  private rung = false;
  private turnTimer: NodeJS.Timeout | undefined;
  private tickTimer: NodeJS.Timeout | undefined;
  private pruneTimer: NodeJS.Timeout | undefined;
  private readonly dataVersion: StatementSync;
  private seenVersion: unknown;
  private choresAt = -Infinity;
  private readonly clock = new WallClock();

  constructor(port: MessagePort, options: DatabaseOptions) {
    this.port = port;
    this.path = options.path;
    this.database = openDatabase(options.path, options.busyTimeoutMs);
    this.dataVersion = this.database.prepare('PRAGMA data_version');
    this.leases = new Leases(this.database, options.path, options.processingTimeoutMs);
    this.turns = new Turns(this.database, new Store(this.database), this.leases, options.busyTimeoutMs);
    this.pruning = new Pruning(this.database, options);
    this.files = identityOf(options.path);
  }

  start(): void {
    try {
      this.turns.transact(false, () => this.leases.beat());
      this.turns.limitWaits();
    } catch (error) {
      throw new Error(`cannot use database ${this.path}: ${messageOf(error)}`, { cause: error });
    }
    this.buryTheDead();
    this.post(this.turns.run());
    this.port.on('message', (request: Request) => this.serve(request));
    this.plan();
    this.planTick();
  }

  private serve(request: Request): void {
    const reply = this.turns.run(request);
    if (request.publications.length > 0) this.refuseOtherFiles();
    this.post(reply);
    // Gives the payloads back at once: to collect them would wait until many have come.
    request.bytes.buffer.transfer(0);
    if (request.calls.some(({ kind }) => kind === 'close')) this.end();
    else this.plan();
  }

  /** A turn that nobody asked for. */
  private takeTurn(): void {
    const reply = this.turns.run();
    if (reply.deliveries.length > 0 || reply.trouble !== undefined || this.bellOwner !== reply.owner) this.post(reply);
    this.plan();
  }

  private post(reply: Reply): void {
    this.port.postMessage(reply, [reply.bytes.buffer]);
    this.listen();
  }

  /** Starts the next turn when there is something to do. */
  private plan(): void {
    clearTimeout(this.turnTimer);
    const delay = this.turns.due ? (this.turns.troubled ? TROUBLE_MS : 0) : this.turns.nextDue - Date.now();
    if (delay < MAX_TIMER_MS) this.turnTimer = setTimeout(() => this.takeTurn(), Math.max(0, delay));
  }

  private listen(): void {
    if (this.bellOwner === this.leases.owner) return;
    this.bell?.close();
    this.bell = undefined;
    this.bellOwner = this.leases.owner;
    try {
      const bell = watch(this.leases.bell, () => this.onBell());
      this.bell = bell;
      bell.on('error', () => {
        bell.close();
        if (this.bell === bell) this.bell = undefined;
      });
    } catch {
      // The system has no more watches.
    }
  }

  private onBell(): void {
    if (this.rung) return;
    this.rung = true;
    setImmediate(() => {
      this.rung = false;
      this.attempt(() => this.look());
    });
  }

  /** After other processes wrote: is there something for us, are we still an owner? */
  private look(): void {
    if (!this.leases.held) return this.takeTurn();
    this.turns.wake();
    this.plan();
  }

  private planTick(): void {
    this.tickTimer = setTimeout(() => this.tick(), this.bell ? TICK_MS : DEAF_TICK_MS);
  }

  private tick(): void {
    this.refuseOtherFiles();
    this.attempt(() => {
      const { data_version: version } = this.dataVersion.get() as { data_version: unknown };
      if (version !== this.seenVersion) this.look();
      this.seenVersion = version;
      this.buryTheDead();
      if (this.clock.wasSetBack) this.limitWaits();
      if (performance.now() - this.choresAt >= CHORES_MS) this.doChores();
    });
    this.planTick();
  }

  /** Ends the thread: what is written into files that were removed is lost, and must not be acknowledged. */
  private refuseOtherFiles(): void {
    if (identityOf(this.path) !== this.files) throw new Error(`${this.path} was removed or replaced`);
  }

  private limitWaits(): void {
    this.turns.limitWaits();
    this.clock.accept();
    this.plan();
  }

  private doChores(): void {
    this.choresAt = performance.now();
    if (this.leases.eldest) this.prune();
  }

  /** For what is tried again by itself: says what is wrong and goes on. */
  private attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      const nothing = { deliveries: [], bytes: new Uint8Array(), isAnswer: false, results: [] };
      this.post({ owner: this.leases.owner, ...nothing, trouble: messageOf(error) });
    }
  }

  private buryTheDead(): void {
    const gone = this.leases.gone();
    if (gone.length === 0) return;
    const woken = this.turns.transact(false, () => gone.flatMap((id) => this.leases.bury(id)));
    for (const owner of new Set(woken)) this.leases.ring(owner);
  }

  /** The next step comes by itself; when this one is called for while another waits, they are one. */
  private prune(): void {
    clearTimeout(this.pruneTimer);
    if (this.turns.transact(false, (now) => this.pruning.step(now))) {
      this.pruneTimer = setTimeout(() => this.attempt(() => this.prune()), PRUNE_STEP_MS);
    }
  }

  private end(): void {
    clearTimeout(this.turnTimer);
    clearTimeout(this.tickTimer);
    clearTimeout(this.pruneTimer);
    this.bell?.close();
    this.leases.close();
    this.database.close();
    this.port.close();
  }
}

/** Which files are the database, its log and the log's index: they stay the same as long as somebody has them open. */
function identityOf(path: string): string {
  const files = ['', '-wal', '-shm'].map((suffix) => statSync(path + suffix, { throwIfNoEntry: false }));
  return files.map((file) => `${file?.dev}:${file?.ino}`).join();
}

new DatabaseThread(parentPort as MessagePort, workerData as DatabaseOptions).start();
