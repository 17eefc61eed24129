/**
 * The app, as a process of its own that can be killed. What it has handled stands in a file before it answers. How it
 * behaves it is told by its parent.
 */

import { openSync, writeSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { AppPlan, Mood } from './app.ts';

const { port, file, subscriptions } = JSON.parse(process.argv[2] as string) as AppPlan;
const notes = openSync(file, 'a');
const note = (kind: string, seq: unknown): void => void writeSync(notes, `${kind}${String(seq)}\n`);
let mood: Mood = {};

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** What the publisher put into the event; nothing of what is no event of ours. */
function contentOf(body: Buffer): { readonly seq?: number; readonly deadly?: boolean; readonly failing?: boolean } {
  try {
    const { data } = JSON.parse(body.toString()) as { data?: unknown };
    return typeof data === 'object' && data !== null ? data : {};
  } catch {
    return {};
  }
}

/** The status to answer with, when all is done and noted. */
async function handle(path: string, body: Buffer): Promise<number> {
  const { seq = '-', deadly, failing } = contentOf(body);
  if (path === '/dead') {
    note('d', seq);
    return 200;
  }
  note('s', seq);
  if (deadly) process.exit(1);
  const ms = (path === '/slow' ? mood.slowMs : mood.delayMs) ?? 0;
  if (ms > 0) await wait(ms);
  if (failing || Math.random() < (mood.failures ?? 0)) return 500;
  note('h', seq);
  return 200;
}

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    const isKnown = request.url === '/dapr/subscribe';
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'application/json' });
    return response.end(isKnown ? JSON.stringify(subscriptions) : '');
  }
  void bodyOf(request)
    .then((body) => handle(request.url ?? '', body))
    .then((status) => response.writeHead(status).end())
    .catch(() => request.destroy());
});
server.listen(port, '127.0.0.1', () => process.send?.('ready'));
process.on('message', (wanted: Mood) => {
  mood = wanted;
  process.send?.('changed');
});
