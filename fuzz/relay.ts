/** Calls that a real sidecar passes on to its app, where both sides may say anything. An input is call and answer as JSON. */

import { connect, type ClientHttp2Session } from 'node:http2';
import { framed } from '../src/channels/framing.ts';
import { fields, frame, headersFrame, startFrameApp, type Field } from '../test/_support/frames.ts';
import type { Random } from './random.ts';
import { startFuzzed } from './sidecar.ts';
import type { Target } from './target.ts';

interface Relayed {
  readonly path: string;
  readonly headers: readonly Field[];
  /** What the client sends, base64. */
  readonly body: string;
  /** What the app sends, base64: frames of a stream 0, to be put on that of the call; empty: it cuts the connection. */
  readonly answer: string;
}

const NAMES = [
  ...['grpc-status', 'grpc-message', 'grpc-timeout', 'grpc-encoding', 'content-type', 'content-length', 'te', 'host'],
  ...['http2-settings', 'connection', '__proto__', 'constructor', 'x', 'x-bin', ':path', ':status', 'etag', 'date'],
  ...['dapr-app-id', 'dapr-callee-app-id', 'dapr-api-token', 'baggage', 'traceparent', 'grpc-trace-bin'],
];
const VALUES = [
  '0',
  '5',
  '-1',
  '99',
  '1n',
  '1S',
  'gzip',
  'application/grpc',
  'application/grpc+json',
  'trailers',
  'app',
];
/** A message, as both sides send it. */
const MESSAGE = framed([Buffer.from('x')]);
const [DATA, RST_STREAM, GOAWAY] = [0, 3, 7] as const;

const oddFields = (random: Random): Field[] =>
  random.many(3, () => [random.pick(NAMES), random.chance(60) ? random.pick(VALUES) : random.text()] as const);

export function answerOf(random: Random): Buffer {
  const status: Field = ['grpc-status', random.chance(70) ? random.pick(['0', '9']) : random.text()];
  const ok: Field[] = [
    [':status', random.chance(85) ? '200' : random.pick(['103', '204', '404', '503', 'x'])],
    ['content-type', random.chance(85) ? 'application/grpc' : random.text()],
  ];
  const message = frame(DATA, 0, 0, random.chance(70) ? MESSAGE : random.damage(MESSAGE));
  const code = Buffer.from([0, 0, 0, random.below(15)]);
  return random.pick([
    () =>
      Buffer.concat([
        headersFrame(0, [...ok, ...oddFields(random)]),
        message,
        headersFrame(0, [status, ...oddFields(random)], true),
      ]),
    () => headersFrame(0, [...ok, status, ...oddFields(random)], true),
    () => Buffer.concat([headersFrame(0, ok), message, frame(RST_STREAM, 0, 0, code)]),
    () => frame(RST_STREAM, 0, 0, code),
    () => frame(GOAWAY, 0, 0, Buffer.concat([Buffer.alloc(4), code])),
    () =>
      Buffer.concat([headersFrame(0, ok), frame(random.below(12), random.below(256), 0, Buffer.from(random.text()))]),
    () => frame(1, random.below(256), 0, random.damage(fields([...ok, status]))),
    () => Buffer.alloc(0),
  ])();
}

function relayed(random: Random): Buffer {
  const call: Relayed = {
    path: random.chance(70)
      ? '/own.Service/x'
      : random.pick(['/', '//', '/x', '/grpc.health.v1.Health/Check', '/a/b/c']),
    headers: random.chance(50) ? [] : oddFields(random),
    body: (random.chance(70) ? MESSAGE : random.damage(MESSAGE)).toString('base64'),
    answer: answerOf(random).toString('base64'),
  };
  return Buffer.from(JSON.stringify(call));
}

/** The frames, on another stream; those of the connection stay where they are. */
export function onStream(frames: Buffer, stream: number): Buffer {
  const out = Buffer.from(frames);
  for (let at = 0; at + 9 <= out.length; at += 9 + out.readUIntBE(at, 3)) {
    if (![4, 6, GOAWAY].includes(out[at + 3] as number)) out.writeUInt32BE(stream, at + 5);
  }
  return out;
}

const NO_HEADER = /[^!-~ ]/;
const DEADLINE_MS = 8000;
const CODE = /^(?:\d|1[0-6])$/;

/** What is wrong with how a call ends. A stream that is reset, or an answer that is no gRPC, is an end. */
function carryOut(session: ClientHttp2Session, { path, headers, body }: Relayed): Promise<string | undefined> {
  return new Promise((resolve) => {
    const sent = headers.filter(([name, value]) => !name.startsWith(':') && !NO_HEADER.test(value));
    const plain = [':method', 'POST', ':path', path, 'content-type', 'application/grpc', 'dapr-app-id', 'app'];
    const soon = ['grpc-timeout', '300m']; // apps may leave it open
    let stream;
    try {
      stream = session.request([...plain, ...soon, ...sent.flat()]);
    } catch {
      return resolve(undefined); // no client can send it
    }
    let wrong: string | undefined;
    const timer = setTimeout(() => {
      stream.close();
      wrong = 'no answer';
    }, DEADLINE_MS);
    const take = (got: Record<string, unknown>): void => {
      const status = got['grpc-status'];
      if (status !== undefined && !CODE.test(String(status))) wrong = `the status ${String(status)}`;
    };
    stream
      .on('response', take)
      .on('trailers', take)
      .on('error', () => undefined);
    stream.once('close', () => {
      clearTimeout(timer);
      resolve(wrong);
    });
    stream.resume().end(Buffer.from(body, 'base64'));
  });
}

const PLAIN: Relayed = {
  path: '/own.Service/x',
  headers: [],
  body: framed([Buffer.alloc(0)]).toString('base64'),
  answer: '',
};

export const relayTarget: Target = {
  name: 'relay',
  about: 'calls that go to the app, and what it answers, down to the frames',
  generate: relayed,
  open: async () => {
    const unimplemented: Field[] = [
      [':status', '200'],
      ['content-type', 'application/grpc'],
      ['grpc-status', '12'],
    ];
    let answer: Buffer | undefined;
    const app = await startFrameApp((stream) => {
      if (answer === undefined) return headersFrame(stream, unimplemented, true);
      return answer.length > 0 ? onStream(answer, stream) : undefined;
    });
    const sidecar = await startFuzzed(app.port, 'grpc');
    let session: ClientHttp2Session | undefined;
    const client = (): ClientHttp2Session => {
      if (session && !session.destroyed && !session.closed) return session;
      session = connect(`http://127.0.0.1:${sidecar.grpcPort}`).on('error', () => undefined);
      return session;
    };
    const stillPasses = async (): Promise<string | undefined> => {
      answer = undefined;
      return (await carryOut(client(), PLAIN)) ?? sidecar.fault();
    };
    return {
      run: async (input) => {
        const call = JSON.parse(input.toString('utf8')) as Relayed;
        answer = Buffer.from(call.answer, 'base64');
        return (await carryOut(client(), call)) ?? sidecar.fault();
      },
      finish: stillPasses,
      close: async () => {
        session?.destroy();
        await sidecar.close();
        app.close();
      },
    };
  },
};
