/**
 * A process that publishes without a pause and handles what arrives, until it is killed. What was acknowledged to it
 * and what it handled stands in files before it goes on, so that an auditor can compare them.
 */

import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { kafkaBroker } from '../../src/brokers/kafka/broker.ts';
import type { Outcome } from '../../src/core/broker.ts';
import { contextOf, text, textOf } from '../conformance/bench.ts';

export interface Audited {
  readonly settings: Readonly<Record<string, string>>;
  readonly topic: string;
  readonly directory: string;
  /** Begins every key. */
  readonly prefix: string;
  readonly perSecond: number;
  readonly keys: number;
}

const FAILING = 0.02;
const TICK_MS = 10;

const { settings, topic, directory, prefix, perSecond, keys } = JSON.parse(process.argv[2] as string) as Audited;
const open = (name: string): ((line: string) => void) => {
  const file = openSync(join(directory, name), 'a');
  return (line) => void writeSync(file, `${line}\n`);
};
const [tried, acknowledged, handled] = [open('tried'), open('acknowledged'), open('handled')];

const broker = await kafkaBroker.open(settings, contextOf('team', ''));
const handler = async (message: Parameters<typeof textOf>[0]): Promise<Outcome> => {
  if (Math.random() < FAILING) return { kind: 'retry', afterMs: 50 };
  handled(textOf(message));
  return { kind: 'success' };
};

let next = 0;
setInterval(() => {
  for (let i = 0; i < (perSecond * TICK_MS) / 1000; i++, next++) {
    const isKeyed = next % keys !== 0;
    const key = isKeyed ? `${prefix}-${next % keys}` : `-${prefix}`;
    const content = `${key} ${next}`;
    tried(content);
    const message = { ...text(content), metadata: isKeyed ? { partitionKey: key } : {} };
    void broker.publish(topic, [message]).then((failures) => {
      if (failures.length === 0) acknowledged(content);
    });
  }
}, TICK_MS);
while (true) {
  const subscribed = await broker.subscribe(topic, { metadata: {} }, handler).catch(() => undefined);
  if (subscribed) break;
}
