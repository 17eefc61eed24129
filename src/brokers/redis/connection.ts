import { backoffMs, type Backoff } from '../../lib/backoff.ts';
import { sleep } from '../../lib/sleep.ts';
import { reasonOf } from './reason.ts';
import type { Client } from './servers.ts';
import type { Teller } from '../../lib/teller.ts';

/** How the client says that it was owed an answer for too long. */
const SILENCE = /^Socket timeout/;

/** The client for everything but blocking reads. Lost, it is replaced; what was on its way then has failed. */
export class Connection {
  /** Undefined while there is no server. */
  client: Client | undefined;
  private readonly connect: (signal: AbortSignal) => Promise<Client>;
  private readonly backoff: Backoff;
  private readonly teller: Teller;
  private readonly closing = new AbortController();
  /** Who waits for a client, each to be told when that changes. Promises would keep them until it does. */
  private readonly waiting = new Set<() => void>();
  private reason = '';

  constructor(connect: (signal: AbortSignal) => Promise<Client>, backoff: Backoff, teller: Teller) {
    this.connect = connect;
    this.backoff = backoff;
    this.teller = teller;
  }

  /**
   * Resolves when connected. A server that is away is waited for until `signal` aborts, one that refuses us is an
   * error.
   */
  async open(signal: AbortSignal): Promise<void> {
    const giveUp = (): void => this.close();
    signal.addEventListener('abort', giveUp);
    if (signal.aborted) giveUp();
    await this.keepTrying((error) => !isAbsence(error)).finally(() => signal.removeEventListener('abort', giveUp));
    if (!this.client) throw new Error(this.reason || 'it does not answer');
  }

  /** The client, as soon as there is one. Rejects with why there is none within `ms`. */
  async ready(ms: number): Promise<Client> {
    if (this.client) return this.client;
    await this.change(ms);
    if (!this.client) throw new Error(this.closing.signal.aborted ? 'component is closed' : this.reason);
    return this.client;
  }

  close(): void {
    this.closing.abort();
    this.client?.disconnect();
    this.tell();
  }

  /** Resolves when there is a client, or never will be, or after `ms`. */
  private async change(ms: number): Promise<void> {
    if (this.closing.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.waiting.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.waiting.add(end);
    });
  }

  private tell(): void {
    for (const end of this.waiting) end();
  }

  private async keepTrying(isFinal: (error: unknown) => boolean): Promise<void> {
    const { signal } = this.closing;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        return this.adopt(await this.connect(signal));
      } catch (error) {
        if (signal.aborted) return;
        if (isFinal(error)) throw error;
        this.reason = reasonOf(error);
        this.teller.away(this.reason);
      }
      await sleep(backoffMs(this.backoff, attempt), signal);
    }
  }

  private adopt(client: Client): void {
    if (this.closing.signal.aborted) return client.disconnect();
    this.client = client;
    this.teller.back();
    this.reason = 'the connection was closed';
    client.on('error', ({ message }: Error) => {
      this.reason = reasonOf(message);
      if (SILENCE.test(message)) this.teller.away(this.reason); // before what was on its way tells that it failed
    });
    client.once('end', () => this.onLost());
    this.tell();
  }

  private onLost(): void {
    this.client = undefined;
    void this.keepTrying(() => false);
  }
}

/** Whether nobody answered, or somebody who will be able to do more soon. */
function isAbsence(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error.name === 'ReplyError') return /^(LOADING|MASTERDOWN|CLUSTERDOWN|BUSY) /.test(error.message);
  const code = 'code' in error ? String(error.code) : '';
  return !/^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO)/.test(code);
}
