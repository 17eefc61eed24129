/** What the conformance tests of one broker stand on: the harness a broker brings, and the hands of one test. */

import type { ExecutionContext } from 'ava';
import type { Broker, Handler, InboundMessage, OutboundMessage, Outcome, Subscription } from '../../src/core/broker.ts';
import type { BrokerContext } from '../../src/core/broker.ts';
import type { Log } from '../../src/lib/log.ts';

/** What a broker can do beyond the contract. Where it cannot, the tests that need it are left out. */
export interface Abilities {
  /** Brokers opened at the same place see the same topics; those with one consumer id share what is published. */
  readonly shared: boolean;
  /** What is published stays for who comes later, and what is not settled for the next broker. */
  readonly durable: boolean;
  /** Messages are handed out in the order they were published. */
  readonly ordered: boolean;
  /** With a concurrency of 1 a message that waits for its retry holds those behind it. */
  readonly holdsOrder: boolean;
  /** Messages of a topic are handled by several handlers and members at once, and one that waits lets others pass. */
  readonly parallel: boolean;
  /** A topic that ends in `*` is a pattern. */
  readonly wildcards: boolean;
  /** A message of this size is refused beside smaller ones that are taken. */
  readonly refusedBytes?: number;
}

export interface Harness {
  readonly name: string;
  readonly abilities: Abilities;
  /** Opens a broker. `place` is a name of the test's own, `concurrency` how many messages a subscription handles at once. */
  open(place: string, consumerId: string, concurrency: number): Promise<Broker>;
}

/** Declares a test, which the broker takes when it has the abilities the test needs. */
export type Declare = (
  title: string,
  body: (t: ExecutionContext, bench: Bench) => Promise<void>,
  ...needs: (keyof Abilities)[]
) => void;

const SILENT: Log = { debug() {}, info() {}, warn() {}, error() {}, scoped: () => SILENT };

/** A deadline that never comes. */
export const NEVER = new AbortController().signal;

/** The context of a broker that is opened by a test. */
export const contextOf = (consumerId: string, home: string, initSignal = NEVER): BrokerContext => ({
  name: 'pubsub',
  appId: consumerId,
  consumerId,
  consumerIdGiven: true,
  home,
  log: SILENT,
  initSignal,
});

export const SUCCESS: Outcome = { kind: 'success' };
export const DROP: Outcome = { kind: 'drop' };
export const retry = (afterMs: number): Outcome => ({ kind: 'retry', afterMs });
export const uncounted = (afterMs: number): Outcome => ({ kind: 'retry', afterMs, uncounted: true });

/** A handler that keeps what it was given. */
export class Recorder {
  readonly messages: InboundMessage[] = [];
  readonly handler: Handler;

  constructor(answer: (message: InboundMessage, signal: AbortSignal) => Outcome | Promise<Outcome> = () => SUCCESS) {
    this.handler = async (message, signal) => {
      this.messages.push(message);
      return answer(message, signal);
    };
  }

  get texts(): string[] {
    return this.messages.map(textOf);
  }
}

export const textOf = ({ data }: { readonly data: Uint8Array }): string => Buffer.from(data).toString('utf8');

export const text = (content: string): OutboundMessage => ({
  data: Buffer.from(content),
  contentType: 'text/plain',
  metadata: {},
});

/** `prefix-0`, `prefix-1` ... */
export const texts = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);

let places = 0;

/** The hands of one test: opens brokers at a place of its own and closes them at its end. */
export class Bench {
  readonly place = `place-${process.pid}-${++places}`;
  private readonly harness: Harness;
  private readonly brokers = new Map<string, Broker[]>();

  constructor(harness: Harness) {
    this.harness = harness;
  }

  /** A broker; where brokers do not share, the one there is for the consumer already. */
  async open(consumerId = 'consumer', concurrency = 10): Promise<Broker> {
    const opened = this.brokers.get(consumerId) ?? [];
    this.brokers.set(consumerId, opened);
    const [first] = opened;
    if (first && !this.harness.abilities.shared) return first;
    const broker = await this.harness.open(this.place, consumerId, concurrency);
    opened.push(broker);
    return broker;
  }

  async close(): Promise<void> {
    await Promise.all([...this.brokers.values()].flat().map((broker) => broker.close()));
  }
}

export const subscribe = (broker: Broker, topic: string, { handler }: Recorder): Promise<Subscription> =>
  broker.subscribe(topic, { metadata: {} }, handler);

/** Publishes texts in one call; throws when one was refused. */
export async function publish(broker: Broker, topic: string, ...contents: string[]): Promise<void> {
  const [failure] = await broker.publish(topic, contents.map(text));
  if (failure) throw failure.error;
}
