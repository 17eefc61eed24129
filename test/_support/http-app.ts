/** An app over HTTP, as somebody would write it beside a sidecar: real server, programmable answers. */

import { createServer, type IncomingMessage } from 'node:http';

export interface Received {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
  /** The body as JSON. */
  readonly event: Record<string, unknown>;
  readonly at: number;
}

/** What to answer: a status, a status with a body, or `cut` to end the connection without an answer. */
export type Reply = number | { status: number; body: string } | 'cut';

export interface HttpApp {
  readonly port: number;
  /** Deliveries in the order they came. */
  readonly received: readonly Received[];
  /** Paths of everything else that was asked, method first. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

export interface HttpAppOptions {
  /** What `GET /dapr/subscribe` answers: a value for JSON, a text as it is, nothing for 404. */
  readonly subscribe?: unknown;
  readonly subscribeStatus?: number;
  /** The status of any other GET; undefined for 404. */
  readonly get?: (url: string) => number | undefined;
  readonly reply?: (received: Received, nth: number) => Reply | Promise<Reply>;
  readonly port?: number;
  /** How many deliveries are remembered; any number by default. */
  readonly keep?: number;
}

export async function startHttpApp({
  subscribe,
  subscribeStatus = 200,
  get = () => undefined,
  reply,
  port = 0,
  keep = Infinity,
}: HttpAppOptions): Promise<HttpApp> {
  const received: Received[] = [];
  const asked: string[] = [];
  const list = typeof subscribe === 'string' ? subscribe : JSON.stringify(subscribe);
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request);
    if (request.method !== 'POST') {
      const url = request.url ?? '';
      asked.push(`${request.method} ${url}`);
      if (url === '/dapr/subscribe' && subscribe !== undefined) response.writeHead(subscribeStatus).end(list);
      else response.writeHead(get(url) ?? 404).end();
      return;
    }
    const one: Received = {
      path: request.url ?? '',
      headers: request.headers,
      body,
      event: parsed(body),
      at: performance.now(),
    };
    received.push(one);
    if (received.length > keep) received.shift();
    const nth = received.filter(({ event }) => event['id'] === one.event['id']).length;
    const answer = (await reply?.(one, nth)) ?? 200;
    if (answer === 'cut') request.socket.destroy();
    else if (typeof answer === 'number') response.writeHead(answer).end();
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    received,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function parsed(body: Buffer): Record<string, unknown> {
  try {
    return (JSON.parse(body.toString('utf8')) ?? {}) as Record<string, unknown>;
  } catch {
    return {};
  }
}
