import type { Redis } from 'ioredis';
import { backoffMs, type Backoff } from '../../lib/backoff.ts';
import { sleep } from '../../lib/sleep.ts';
import type { RawEntry } from './entry.ts';
import { reasonOf } from './reason.ts';
import { hangUp } from './servers.ts';
import type { Teller } from '../../lib/teller.ts';

/** A topic to read. */
export interface Source {
  readonly name: string;
  /** How many entries it can take now. */
  readonly wanted: number;
  /** What a read that asked for it brought, also nothing. */
  deliver(entries: readonly RawEntry[], now: number): void;
  /** Makes its group again, which somebody removed. */
  recreate(): Promise<void>;
  /** A reply may have been lost: claims what was in it. */
  recover(): Promise<void>;
}

export interface ReaderOptions {
  readonly group: string;
  readonly consumer: string;
  /** How long a read waits on the server, at most. */
  readonly blockMs: number;
  readonly backoff: Backoff;
  /** A connection for reads of the topic. */
  connect(topic: string): Promise<Redis>;
  /** Ends the read that waits on `connection`; resolves with whether there was one. */
  unblock(connection: Redis, clientId: number): Promise<boolean>;
}

/** How long a topic that cannot be read is left alone, so that it does not disturb the others. */
const SUSPEND_MS = 5000;
const UNBLOCK_RETRY_MS = 5;

/** Reads many topics with one blocking command on one connection, never more than there is room for. */
export class Reader {
  private readonly options: ReaderOptions;
  private readonly teller: Teller;
  private readonly sources = new Map<string, Source>();
  private readonly suspended = new Set<Source>();
  private readonly closing = new AbortController();
  private running: Promise<void> | undefined;
  private connection: Redis | undefined;
  /** What the server calls the connection. */
  private clientId: number | undefined;
  /** What the command on its way reads; none when no command is. */
  private reading: readonly Source[] = [];
  private readEnd = Promise.resolve();
  private repairs = 0;
  private nudging = false;
  private onWake: () => void = () => undefined;

  constructor(options: ReaderOptions, teller: Teller) {
    this.options = options;
    this.teller = teller;
  }

  get isEmpty(): boolean {
    return this.sources.size === 0;
  }

  add(source: Source): void {
    this.sources.set(source.name, source);
    this.running ??= this.run();
    this.wake(source);
  }

  /** Resolves when nothing is delivered to it any more. */
  async remove(source: Source): Promise<void> {
    this.sources.delete(source.name);
    if (!this.reading.includes(source)) return;
    void this.nudge();
    await this.readEnd;
  }

  /** The source may want something. */
  wake(source: Source): void {
    if (source.wanted <= 0) return;
    this.onWake();
    if (this.reading.length > 0 && !this.reading.includes(source)) void this.nudge();
  }

  async close(): Promise<void> {
    this.closing.abort();
    this.onWake();
    void this.nudge();
    await this.running;
  }

  /** Whether the command on its way reads other topics than it should. */
  private get isOutdated(): boolean {
    if (this.reading.length === 0) return false;
    if (this.reading.some((source) => this.sources.get(source.name) !== source)) return true;
    return this.ready().some((source) => !this.reading.includes(source));
  }

  private ready(): Source[] {
    return [...this.sources.values()].filter((source) => source.wanted > 0 && !this.suspended.has(source));
  }

  private async run(): Promise<void> {
    const { signal } = this.closing;
    for (let failures = 0; !signal.aborted;) {
      try {
        await this.waitForWork();
        const connection = await this.options.connect([...this.sources.keys()][0] ?? '');
        this.connection = connection;
        this.clientId = await idOf(connection);
        if (failures > 0) await Promise.all([...this.sources.values()].map((source) => source.recover()));
        while (!signal.aborted) {
          await this.read(connection);
          failures = 0;
        }
      } catch (error) {
        failures++;
        if (!signal.aborted) this.teller.note(`reading messages fails, trying again: ${reasonOf(error)}`);
      } finally {
        if (this.connection) hangUp(this.connection);
        this.connection = undefined;
      }
      if (failures > 0) await sleep(backoffMs(this.options.backoff, failures), signal);
    }
  }

  /** Rejects when the connection is of no use any more. */
  private async read(connection: Redis): Promise<void> {
    await this.waitForWork();
    const sources = this.ready();
    if (sources.length === 0 || this.closing.signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.reading = sources;
    this.readEnd = promise;
    try {
      const reply = await connection.callBuffer('xreadgroup', this.commandFor(sources));
      this.distribute(reply as [Buffer, RawEntry[]][] | null, sources);
      this.repairs = 0;
    } catch (error) {
      if (!isAboutTopics(error)) throw error;
      this.teller.note(`reading messages fails, trying again: ${reasonOf(error)}`);
      await this.repair(sources);
    } finally {
      this.reading = [];
      resolve();
    }
  }

  private async waitForWork(): Promise<void> {
    while (this.ready().length === 0 && !this.closing.signal.aborted) {
      await new Promise<void>((resolve) => (this.onWake = resolve));
    }
  }

  private commandFor(sources: readonly Source[]): (string | number)[] {
    const { group, consumer, blockMs } = this.options;
    const count = Math.min(...sources.map(({ wanted }) => wanted));
    const names = sources.map(({ name }) => name);
    const options = ['GROUP', group, consumer, 'COUNT', count, 'BLOCK', blockMs];
    return [...options, 'STREAMS', ...names, ...names.map(() => '>')];
  }

  private distribute(reply: [Buffer, RawEntry[]][] | null, sources: readonly Source[]): void {
    const now = performance.now();
    const entries = new Map(reply?.map(([name, raw]) => [name.toString(), raw]));
    for (const source of sources) source.deliver(entries.get(source.name) ?? [], now);
  }

  /** Makes missing groups again. A topic for which that fails is left alone for a while. */
  private async repair(sources: readonly Source[]): Promise<void> {
    const { signal } = this.closing;
    const pause = sleep(backoffMs(this.options.backoff, ++this.repairs), signal);
    await Promise.all(
      sources.map((source) =>
        source.recreate().catch((error: unknown) => {
          this.teller.note(`topic ${source.name} cannot be read: ${reasonOf(error)}`);
          this.suspended.add(source);
          void sleep(SUSPEND_MS, signal).then(() => {
            this.suspended.delete(source);
            this.wake(source);
          });
        }),
      ),
    );
    await pause;
  }

  /** Ends the command on its way when it reads the wrong topics. Without the right to do so it ends by itself soon. */
  private async nudge(): Promise<void> {
    if (this.nudging) return;
    this.nudging = true;
    try {
      // The command may not have reached the server yet.
      while (this.reading.length > 0 && (this.isOutdated || this.closing.signal.aborted)) {
        const { connection, clientId } = this;
        if (!connection || clientId === undefined || (await this.options.unblock(connection, clientId))) break;
        await sleep(UNBLOCK_RETRY_MS, this.closing.signal);
      }
    } catch {
      // It ends within `blockMs`.
    } finally {
      this.nudging = false;
    }
  }
}

/** What CLIENT UNBLOCK needs; undefined without the right to know it. */
async function idOf(connection: Redis): Promise<number | undefined> {
  return connection.call('client', ['ID']).then(Number, () => undefined);
}

/** Whether the error is about one of the topics and not about the connection or the server. */
const isAboutTopics = (error: unknown): boolean =>
  error instanceof Error && /^(NOGROUP|WRONGTYPE|NOPERM|UNBLOCKED the stream)/.test(error.message);
