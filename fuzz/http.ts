/** The HTTP API of a real sidecar, byte for byte, with an app over HTTP that gets what is published. */

import { connect } from 'node:net';
import { fields, frame, PREFACE } from '../test/_support/frames.ts';
import { startHttpApp } from '../test/_support/http-app.ts';
import { until } from '../test/_support/until.ts';
import type { Random } from './random.ts';
import { startFuzzed } from './sidecar.ts';
import type { Target } from './target.ts';

const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD', 'PATCH', 'PRI', 'CONNECT'];
const PATHS = [
  ...['/v1.0/publish/pubsub/fuzzed', '/v1.0/publish/bulk/pubsub/fuzzed', '/v1.0-alpha1/publish/bulk/pubsub/fuzzed'],
  ...['/v1.0/metadata', '/v1.0/metadata/key', '/v1.0/healthz', '/v1.0/healthz/outbound', '/v1.0/publish', '/'],
  ...['/v1.0/invoke/app/method/fuzzed', '/v1.0/invoke/x/method/y'],
];
const TYPES = ['application/json', 'application/cloudevents+json', 'text/plain', 'application/octet-stream', ''];
const HEADERS = [
  'traceparent',
  'tracestate',
  'dapr-api-token',
  'dapr-app-id',
  'upgrade',
  'http2-settings',
  'expect',
  'origin',
];

const header = (random: Random): string => random.text().replace(/[\r\n\0]/g, '');

function body(random: Random): Buffer {
  if (random.chance(20)) return Buffer.from(random.text());
  if (random.chance(50)) {
    const entry = (): object => ({
      [random.pick(['entryId', 'entryID', 'x'])]: random.json(1),
      event: random.json(2),
      contentType: random.chance(70) ? random.pick(TYPES) : random.json(1),
      metadata: random.chance(50)
        ? Object.fromEntries(random.many(3, () => [random.text(), random.json(1)]))
        : random.json(1),
    });
    return Buffer.from(JSON.stringify(random.many(4, entry)));
  }
  const event = { specversion: '1.0', id: random.json(1), source: random.json(1), type: random.json(1) };
  return Buffer.from(JSON.stringify({ ...event, data: random.json(), [random.text()]: random.json(2) }) ?? '');
}

/** One request, well-formed but for what it says, or damaged. */
function request(random: Random): Buffer {
  const query = random.many(
    4,
    () =>
      `metadata.${encodeURIComponent(random.text().toWellFormed())}=${encodeURIComponent(random.text().toWellFormed())}`,
  );
  const tail = random.chance(25) ? `/${header(random).replace(/\s/g, '')}` : '';
  const path = `${random.pick(PATHS)}${tail}${query.length > 0 ? `?${query.join('&')}` : ''}`;
  const method = random.chance(70) ? 'POST' : random.pick(METHODS);
  const data = body(random);
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: localhost',
    'Connection: close',
    ...(random.chance(80) ? [`Content-Type: ${random.pick(TYPES)}`] : []),
    ...random.many(3, () => `${random.pick(HEADERS)}: ${header(random)}`),
  ];
  if (random.chance(80)) lines.push(`Content-Length: ${data.length}`, '');
  else lines.push('Transfer-Encoding: chunked', '', data.length.toString(16));
  const bytes = Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n`), data, Buffer.from('\r\n0\r\n\r\n')]);
  return random.chance(35) ? random.damage(bytes) : bytes;
}

/** A connection of HTTP/2, by its preface or by an upgrade, its frames damaged or not. */
function http2(random: Random): Buffer {
  const [SETTINGS, HEAD, DATA, END_HEADERS, END_BOTH] = [4, 1, 0, 4, 5] as const;
  const streams = random
    .many(4, () => 1 + 2 * random.below(4))
    .map((stream) => {
      const head = fields([
        [':method', random.chance(70) ? 'POST' : random.pick(METHODS)],
        [':path', random.chance(80) ? random.pick(PATHS) : random.text()],
        [':scheme', 'http'],
        ...random.many(3, () => [random.chance(50) ? random.pick(HEADERS) : random.text(), random.text()] as const),
      ]);
      if (random.chance(30)) return frame(HEAD, END_BOTH, stream, head);
      const data = frame(DATA, random.below(2), stream, body(random).subarray(0, 16_000));
      return Buffer.concat([frame(HEAD, END_HEADERS, stream, head), data]);
    });
  const odd = random.many(2, () =>
    frame(random.below(12), random.below(256), random.below(9), Buffer.from(random.text())),
  );
  const frames = Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, Buffer.alloc(0)), ...streams, ...odd]);
  const sent = random.chance(50) ? Buffer.concat([frames.subarray(0, 33), random.damage(frames.subarray(33))]) : frames;
  if (random.chance(60)) return sent;
  const upgrade = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n';
  const line = `GET ${random.pick(PATHS)} HTTP/1.1\r\nHost: x\r\n${upgrade}${random.pick(HEADERS)}: ${header(random)}\r\n\r\n`;
  return Buffer.concat([Buffer.from(line), random.chance(20) ? random.damage(sent) : sent]);
}

const HEAD = Buffer.from('HEAD ');
const ANSWER_MS = 8000;

/** What comes back until the sidecar ends the connection. Our end is closed, so that an unfinished request is over. */
function exchange(port: number, bytes: Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, '127.0.0.1');
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no answer in ${ANSWER_MS} ms`));
    }, ANSWER_MS);
    socket.setEncoding('latin1').on('data', (chunk: string) => (answer += chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(answer);
    });
    socket.end(bytes);
  });
}

/** A body past the limit, a broken CloudEvent and a call of another app are 500 in Dapr, an HTTP version that nobody has is 505. */
const ALLOWED = /stream too large|ERR_PUBSUB_CLOUD_EVENTS_SER|other apps are not reachable|^HTTP\/1\.1 505/;

export const httpTarget: Target = {
  name: 'http',
  about: 'the HTTP API, and deliveries to an app over HTTP',
  generate: (random) => (random.chance(25) ? http2(random) : request(random)),
  open: async () => {
    const app = await startHttpApp({
      subscribe: [{ pubsubname: 'pubsub', topic: 'fuzzed', route: '/fuzzed' }],
      keep: 100,
    });
    const sidecar = await startFuzzed(app.port, 'http');
    let round = 0;
    const delivers = async (): Promise<string | undefined> => {
      const mark = `mark ${round}`;
      const url = `http://127.0.0.1:${sidecar.httpPort}/v1.0/publish/pubsub/fuzzed`;
      const { status } = await fetch(url, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: mark });
      if (status !== 204) return `a plain publish is answered with ${status}`;
      await until(() => app.received.some(({ event }) => event['data'] === mark), 'a plain event is delivered');
      return sidecar.fault();
    };
    return {
      run: async (input) => {
        const answer = await exchange(sidecar.httpPort, input);
        const isBodiless = input.subarray(0, 5).equals(HEAD); // why it is answered so is in the body
        if (/^HTTP\/1\.1 5/.test(answer) && !isBodiless && !ALLOWED.test(answer)) return answer.slice(0, 500);
        return ++round % 200 === 0 ? delivers() : sidecar.fault();
      },
      finish: delivers,
      close: async () => {
        await sidecar.close();
        await app.close();
      },
    };
  },
};
