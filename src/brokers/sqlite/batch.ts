import type { OutboundMessage } from '../../core/broker.ts';
import { pack, type Call, type CallResult, type Publication, type Request, type Settlement } from './protocol.ts';

/** What may wait for its transaction. More is refused, so that a stuck disk does not fill the memory. */
const MAX_BYTES = 64 * 2 ** 20;
/** What a message without payload takes. */
const OVERHEAD = 512;

/** What goes in one request, and who waits for it. */
export class Batch {
  private readonly publications: Publication[] = [];
  private readonly payloads: Uint8Array[] = [];
  readonly settlements: Settlement[] = [];
  readonly calls: Call[] = [];
  readonly callers: PromiseWithResolvers<CallResult>[] = [];
  readonly stored = Promise.withResolvers<string | undefined>();
  publishes = 0;
  private bytes = 0;

  get size(): number {
    return this.publications.length + this.settlements.length + this.calls.length;
  }

  /** Takes the messages of one publish, all or none: false when too much waits already. One that is alone always fits. */
  add(topic: string, messages: readonly OutboundMessage[]): boolean {
    const publications = messages.map(({ data, contentType, metadata }): Publication => {
      return [topic, contentType, JSON.stringify(metadata), data.length];
    });
    const bytes = publications.reduce((sum, [, , metadata, size]) => sum + metadata.length + size + OVERHEAD, 0);
    if (this.bytes > 0 && this.bytes + bytes > MAX_BYTES) return false;
    for (const publication of publications) this.publications.push(publication);
    for (const { data } of messages) this.payloads.push(data);
    this.bytes += bytes;
    this.publishes++;
    return true;
  }

  /** What goes to the database thread; the payloads are there alone from then on. */
  takeRequest(): Request {
    const { publications, settlements, calls } = this;
    return { publications, settlements, calls, bytes: pack(this.payloads.splice(0)) };
  }

  finish(refusal: string | undefined, results: readonly CallResult[]): void {
    this.stored.resolve(refusal);
    results.forEach((result, index) => this.callers[index]?.resolve(result));
  }

  fail(error: string): void {
    this.finish(
      error,
      this.callers.map(() => ({ error })),
    );
  }
}
